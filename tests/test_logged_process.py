"""Processes that are started and ended in order: nothing of them stays, and what they said last is told."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from policytrim_gym.errors import WorkerFailed
from policytrim_ros.demo import logged_process
from policytrim_ros.demo.logged_process import LoggedProcess, uninterrupted

STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def python(script, folder):
    return LoggedProcess([sys.executable, "-c", script], folder / "logs" / "script.log", {"A_WORD": "said"})


def until(condition, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid):
    """Returns whether a process runs; one that has ended and that nobody asks for its exit code does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_ends_well_has_ended_and_what_fails_is_told_with_its_last_line(tmp_path):
    ended = python("import os; print(os.environ['A_WORD'])", tmp_path)
    until(ended.has_ended)
    assert ended.said == "said\n"
    with pytest.raises(WorkerFailed, match="^script must run on, it ended with exit code 0: said$"):
        ended.check()
    failed = python("import sys; print('one', flush=True); sys.exit('the last word')", tmp_path)
    with pytest.raises(WorkerFailed, match="^script must not fail, it ended with exit code 1: the last word$"):
        until(failed.has_ended)


def test_nothing_stays_of_a_process_that_hears_no_signal(tmp_path, monkeypatch):
    monkeypatch.setattr(logged_process, "END_S", 0.1)
    with python(STUBBORN, tmp_path) as process:
        process.check()
        until(lambda: process.said)
        child = int(process.said)
    until(lambda: not runs(child) and not runs(process.pid))
    with pytest.raises(WorkerFailed, match="exit code -9"):
        process.check()


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a shell in the foreground has it: a job in the background begins with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_processes_are_ended_comes_when_all_have(tmp_path, ctrl_c):
    process = python("import time\nprint('there', flush=True)\ntime.sleep(60)", tmp_path)
    until(lambda: process.said)
    with pytest.raises(KeyboardInterrupt):
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            process.end()
            assert not runs(process.pid)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
