"""A process whose words go to a file, and which whoever started it ends, however impatient somebody is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from policytrim_gym.errors import WorkerFailed

END_S = 20.0
"""So long a process may take to end after Ctrl-C [s]; an arm brakes and a recording is closed meanwhile."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts off Ctrl-C and SIGTERM until it is left; for the main thread."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


class LoggedProcess:
    """Starts a process, and ends it when it is left as a context, or when `end` or `kill` is called.

    It is the leader of a process group: Ctrl-C in the terminal reaches whoever started it alone, who ends everything in order.

    Args:
        command: its words.
        log: file for what it says, named after it; its folder is made.
        environment: added to this process's.

    >>> import sys, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     process = LoggedProcess([sys.executable, "-c", "print('a word')"], Path(folder, "speaker.log"), {})
    ...     while not process.has_ended():
    ...         pass
    ...     process.said.strip()
    'a word'
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        # One thread a process: pools of several threads slow the nodes on a small machine, and a late chunk is a waiting arm.
        environ = {"OMP_NUM_THREADS": "1", **os.environ, **environment}
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self) -> LoggedProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Its number, and that of its group."""
        return self._process.pid

    @property
    def said(self) -> str:
        """Everything that it has written."""
        return self._log.read_text(errors="replace")

    def has_ended(self) -> bool:
        """Returns whether it has ended as it should.

        Raises:
            WorkerFailed: it ended otherwise; the message has its last line.
        """
        code = self._process.poll()
        if code:
            raise self._failure("must not fail", code)
        return code is not None

    def check(self) -> None:
        """Returns while it runs.

        Raises:
            WorkerFailed: it has ended; the message has its last line.
        """
        code = self._process.poll()
        if code is not None:
            raise self._failure("must run on", code)

    def end(self) -> None:
        """Ends it as Ctrl-C does, and what it started; by SIGTERM and then kill -9 where it does not end in time."""
        with uninterrupted():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:
                    pass  # it has ended before, and nothing of its group is left
                try:
                    self._process.wait(END_S)
                    return
                except subprocess.TimeoutExpired:
                    continue

    def kill(self) -> None:
        """Ends it as kill -9 does."""
        self._process.kill()
        self._process.wait()

    def _failure(self, rule: str, code: int) -> WorkerFailed:
        line = (self.said.strip().splitlines() or ["it said nothing"])[-1]
        return WorkerFailed(f"{self._log.stem} {rule}, it ended with exit code {code}: {line}")
