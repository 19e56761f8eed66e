"""Laws of `policytrim serve`: it serves until it is told to stop, and ends well then."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from openpi_servers import make_observation, predict

from policytrim_gym.cli.main import main
from policytrim_gym.policies.openpi import OpenpiPolicy

POLICY = "python:openpi_servers:make_policy"


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_with_key_and_horizon_and_stops_with_code_0(stop):
    command = [sys.executable, "-m", "policytrim_gym", "serve", "--policy", POLICY, "--port", "0"]
    command += ["--api-key-env", "ROBOT_KEY", "--execute-horizon", "3", "--max-wait-ms", "1"]
    tests = Path(__file__).parent
    environment = {**os.environ, "ROBOT_KEY": "secret", "PYTHONPATH": str(tests.parent)}
    # A job in the background inherits an ignored SIGINT, and with it a server that Ctrl-C does not stop.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tests, env=environment, preexec_fn=default, **pipes) as process:
        try:
            line = process.stdout.readline()
            uri = re.search(r"chunks of 6 x 3, 3 to run, at (ws://127\.0\.0\.1:\d+);", line).group(1)
            with OpenpiPolicy(uri, api_key="secret") as client:
                assert client.spec.horizon == 3
                np.testing.assert_array_equal(client.predict_action_chunk(make_observation(0)).actions, predict(make_observation(0)))
                process.send_signal(stop)
                output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, output, errors) == (0, "stopped\n", "")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY: that environment variable must hold the key"),
        (["--execute-horizon", "7"], "execute_horizon must be in 1..6"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1:8000"),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert main(["serve", "--policy", POLICY, *arguments]) == 1
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
