"""Nodes in processes of their own, and a node of the test's that talks with them over real DDS."""

from __future__ import annotations

import math
import os
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

from policytrim_ros.demo.domains import ClaimedDomain

TIMEOUT_S = 30.0
"""For what takes far less: discovery alone takes up to 3 s, a start several on a busy machine."""
RESEND_S = 5.0
"""After which a request without a response is sent again."""

ROOT = Path(__file__).resolve().parents[1]


class NodeProcess:
    """A node of the package, started as a process.

    Args:
        name: of its module in `policytrim_ros.nodes`.
        domain: of DDS.
        log: file for what it says.
        parameters: of the node.
    """

    def __init__(self, name: str, domain: ClaimedDomain, log: Path, **parameters: object) -> None:
        arguments = [word for key, value in parameters.items() for word in ("-p", f"{key}:={_as_yaml(value)}")]
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"policytrim_ros.nodes.{name}", *(["--ros-args", *arguments] if arguments else [])],
                cwd=ROOT,
                env=os.environ | domain.environment,
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
        self._domain = ClaimedDomain()
        self._folder, self._processes = folder, []
        self._context = Context()
        rclpy.init(context=self._context, domain_id=self._domain.number)
        self.probe = Node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.probe)
        # In a thread, so that nothing is late or lost while a test does something else.
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def start(self, name: str, **parameters: object) -> NodeProcess:
        """Starts a node of the package."""
        self._processes.append(NodeProcess(name, self._domain, self._folder / f"{name}-{len(self._processes)}.log", **parameters))
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
        return self.answer(self.probe.create_client(service_type, name), request)

    def answer(self, client: Any, request: Any) -> Any:
        """Returns the response to a request, which is sent again where none comes.

        A server that was killed looks ready for some time, and one that has just begun may not know yet whom to answer.
        """
        self.until(client.service_is_ready, f"the service {client.srv_name}")
        futures: list[Any] = []
        sent_s = -math.inf

        def done() -> Any:
            nonlocal sent_s
            if time.monotonic() > sent_s + RESEND_S:
                futures.append(client.call_async(request))
                sent_s = time.monotonic()
            return next((future for future in futures if future.done()), None)

        return self.until(done, f"an answer of {client.srv_name}").result()

    def close(self) -> None:
        """Ends all processes and the probe, and leaves the domain to others."""
        for process in self._processes:
            process.kill()
        rclpy.shutdown(context=self._context)
        self._thread.join(TIMEOUT_S)
        self.probe.destroy_node()
        self._domain.release()

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
