"""The nodes of a launch plan as processes of a DDS domain of their own."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from policytrim_ros.demo.domains import ClaimedDomain
from policytrim_ros.demo.logged_process import LoggedProcess, uninterrupted
from policytrim_ros.launch_plan import LaunchPlan

_domains: list[ClaimedDomain] = []
"""Claimed until this process ends."""


def local_domain() -> dict[str, str]:
    """Returns the environment of a DDS domain that is this process's until it ends, and that no other machine sees."""
    _domains.append(ClaimedDomain())
    return _domains[-1].environment


class NodeProcesses:
    """Starts the nodes of a plan when it is entered, and ends all of them when it is left, however that happens.

    The policy is ended first, so that the arm holds, and the monitor last, so that its recording is whole.

    Args:
        plan: what to start.
        logs: folder for a file of what each node says.
        environment: added to this process's.
    """

    def __init__(self, plan: LaunchPlan, logs: str | os.PathLike[str], environment: dict[str, str]) -> None:
        self._plan, self._logs = plan, Path(logs)
        self._environment = {**plan.environment, **environment}
        self._processes: dict[str, LoggedProcess] = {}

    def __enter__(self) -> NodeProcesses:
        try:
            for node in self._plan.nodes:
                name = node.executable
                self._processes[name] = LoggedProcess(node.command(), self._logs / f"{name}.log", self._environment)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def check(self) -> None:
        """Returns while all run.

        Raises:
            WorkerFailed: a node has ended; the message has its last line.
        """
        for process in self._processes.values():
            process.check()

    def _end(self) -> None:
        with uninterrupted():
            for name in sorted(self._processes, key=lambda name: {"policy_node": 0, "monitor_node": 2}.get(name, 1)):
                self._processes[name].end()
