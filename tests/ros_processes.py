"""Nodes in processes of their own, and a node of the test's that talks with them over real DDS."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

TIMEOUT_S = 30.0
"""For what takes far less: discovery alone takes up to 3 s, a start several on a busy machine."""

ROOT = Path(__file__).resolve().parents[1]


class NodeProcess:
    """A node of the package, started as a process.

    Args:
        name: of its module in `policytrim_ros.nodes`.
        domain_id: of its DDS domain.
        log: file for what it says.
        parameters: of the node.
    """

    def __init__(self, name: str, domain_id: int, log: Path, **parameters: object) -> None:
        arguments = [word for key, value in parameters.items() for word in ("-p", f"{key}:={_as_yaml(value)}")]
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"policytrim_ros.nodes.{name}", *(["--ros-args", *arguments] if arguments else [])],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """Everything that it has written."""
        return self._log.read_text()

    def wait(self) -> int:
        """Returns its exit code when it has ended."""
        return self._process.wait(TIMEOUT_S)

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """Sends it a signal and returns its exit code."""
        self._process.send_signal(by)
        return self.wait()

    def kill(self) -> None:
        """Ends it if it runs still."""
        self._process.kill()
        self._process.wait()


class Ros:
    """A DDS domain with a node of the test's, `probe`."""

    def __init__(self, folder: Path) -> None:
        self.domain_id = 1 + secrets.randbelow(100)  # above 101 their ports may be those of outgoing connections
        self._folder, self._processes = folder, []
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self.domain_id)
        self.probe = Node(f"probe_{self.domain_id}", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.probe)
        # In a thread, so that nothing is late or lost while a test does something else.
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def start(self, name: str, **parameters: object) -> NodeProcess:
        """Starts a node of the package."""
        self._processes.append(NodeProcess(name, self.domain_id, self._folder / f"{name}-{len(self._processes)}.log", **parameters))
        return self._processes[-1]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits until a condition is true, and returns its value."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (value := condition()):
            said = "\n".join(process.said for process in self._processes)
            assert time.monotonic() < deadline, f"waited {TIMEOUT_S:g} s for {what}; the nodes said:\n{said}"
            time.sleep(0.01)
        return value

    def listen(self, message_type: Any, topic: str, qos: Any = 100) -> list[Any]:
        """Subscribes, waits for a publisher and returns the list that messages are appended to."""
        received: list[Any] = []
        subscription = self.probe.create_subscription(message_type, topic, received.append, qos)
        self.until(subscription.get_publisher_count, f"a publisher of {topic}")
        return received

    def publisher(self, message_type: Any, topic: str) -> Any:
        """Returns a publisher that has a subscriber."""
        publisher = self.probe.create_publisher(message_type, topic, 10)
        self.until(publisher.get_subscription_count, f"a subscriber of {topic}")
        return publisher

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Calls a service and returns its response."""
        client = self.probe.create_client(service_type, name)
        self.until(client.service_is_ready, f"the service {name}")
        future = client.call_async(request)
        self.until(future.done, f"an answer of {name}")
        return future.result()

    def close(self) -> None:
        """Ends all processes and the probe."""
        for process in self._processes:
            process.kill()
        rclpy.shutdown(context=self._context)
        self._thread.join(TIMEOUT_S)
        self.probe.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass


@contextmanager
def ros_domain(folder: Path) -> Iterator[Ros]:
    """A domain of its own for nodes and a probe; ends all of them."""
    before = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    ros = Ros(folder)
    try:
        yield ros
    finally:
        ros.close()
        if before is None:
            del os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"]
        else:
            os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = before


def _as_yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
