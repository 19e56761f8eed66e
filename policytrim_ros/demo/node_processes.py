"""The nodes of a launch plan as processes of a DDS domain of their own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from policytrim_gym.errors import WorkerFailed
from policytrim_ros.launch_plan import LaunchPlan

END_S = 20.0
"""So long a node may take to end after Ctrl-C [s]; the arm brakes and the recording is closed meanwhile."""
HIGHEST_DOMAIN = 101
"""Above it the ports of a domain may be those of outgoing connections."""


def local_domain() -> dict[str, str]:
    """Returns the environment of a random DDS domain that no other machine sees."""
    return {"ROS_DOMAIN_ID": str(1 + secrets.randbelow(HIGHEST_DOMAIN)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class NodeProcesses:
    """Starts the nodes of a plan when it is entered, and ends all of them when it is left, however that happens.

    Each is the leader of a process group: Ctrl-C in the terminal reaches this process alone, which ends the policy first, so that the arm
    holds, and the monitor last, so that its recording is whole.

    Args:
        plan: what to start.
        logs: folder for a file of what each node says.
        environment: added to this process's.
    """

    def __init__(self, plan: LaunchPlan, logs: str | os.PathLike[str], environment: dict[str, str]) -> None:
        self._plan, self._logs = plan, Path(logs)
        # One thread a process: pools of several threads slow the nodes on a small machine, and a late chunk is a waiting arm.
        self._environment = {"OMP_NUM_THREADS": "1", **os.environ, **plan.environment, **environment}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> NodeProcesses:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for node in self._plan.nodes:
                with self.log(node.executable).open("wb") as file:
                    self._processes[node.executable] = subprocess.Popen(
                        node.command(), env=self._environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
                    )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def log(self, executable: str) -> Path:
        """Returns the file of what a node says."""
        return self._logs / f"{executable}.log"

    def check(self) -> None:
        """Returns while all run.

        Raises:
            WorkerFailed: a node has ended; the message has its last line.
        """
        for executable, process in self._processes.items():
            code = process.poll()
            if code is not None:
                said = self.log(executable).read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise WorkerFailed(f"{executable} must run on, it ended with exit code {code}: {said[-1]}")

    def _end(self) -> None:
        order = sorted(self._processes, key=lambda name: {"policy_node": 0, "monitor_node": 2}.get(name, 1))
        for executable in order:
            process = self._processes[executable]
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                if _ended(process, number):
                    break


def _ended(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Sends a signal to a process and what it started, and returns whether it has ended of it."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # it has ended before, and nothing of its group is left
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        try:
            process.wait(timeout=0.1)
            return True
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            continue  # impatience must not leave an arm or a recording behind
    return False
