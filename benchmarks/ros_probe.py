"""What the timing of nodes needs beside the nodes: a node that listens in a thread of its own, the options, and the machine's load."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from policytrim_gym.errors import WorkerFailed
from policytrim_ros.demo.logged_process import END_S

WAIT_S = 120.0
"""For what takes seconds: a start, discovery, a service [s]."""
SETTLE_S = 1.0
"""Nodes find one another as late as this one finds them [s]."""


class Probe:
    """A node that is served in a thread, so that nothing is late while its owner waits or sleeps.

    Args:
        name: of the node.
        check: raises when a process that is needed has ended.
    """

    def __init__(self, name: str, check: Callable[[], None] = lambda: None) -> None:
        self._check, self._context = check, Context()
        # Ctrl-C is the owner's, who must still end others.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        rclpy.shutdown(context=self._context)
        self._thread.join(END_S)
        self.node.destroy_node()

    def now_s(self) -> float:
        """Returns the present time of the machine's clock [s]."""
        return float(self.node.get_clock().now().nanoseconds * 1e-9)

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> None:
        """Returns when a condition holds.

        Raises:
            WorkerFailed: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{what} must come within {timeout_s:g} s, it did not")
            time.sleep(0.01)

    def sleep(self, duration_s: float) -> None:
        """Lets time pass while all processes run."""
        end_s = time.monotonic() + duration_s
        self.until(lambda: time.monotonic() > end_s, "the end", duration_s + WAIT_S)

    def listen(self, kind: Any, topic: str, take: Callable[[Any], None]) -> None:
        """Subscribes, and returns when there is a publisher."""
        subscription = self.node.create_subscription(kind, topic, take, 1000)
        self.until(subscription.get_publisher_count, f"a publisher of {topic}")

    def call(self, kind: Any, name: str) -> str:
        """Calls a service of type Trigger and returns its words.

        Raises:
            WorkerFailed: it refused, or did not answer.
        """
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"the service {name}")
        future = client.call_async(kind.Request())
        self.until(future.done, f"an answer of {name}")
        answer = future.result()
        if not answer.success:
            raise WorkerFailed(f"{name} must succeed, it said: {answer.message}")
        return str(answer.message)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass


def timing_parser(description: str, seconds: float, seconds_of: str) -> argparse.ArgumentParser:
    """Returns a parser of the options that every timing has.

    Args:
        description: of the command, its docstring.
        seconds: default of --seconds [s].
        seconds_of: what takes so long, in words.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of {seconds_of}")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--logs", type=Path, help="folder for what the processes say")
    return parser


def machine() -> dict[str, Any]:
    """Returns how many cores this machine has, and its load: processes that want to run, over the last 1 and 5 minutes."""
    return {"cores": os.cpu_count(), "load": [round(load, 2) for load in os.getloadavg()[:2]]}
