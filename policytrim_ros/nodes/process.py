"""Runs one node as a process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from policytrim_gym.errors import PolicyTrimError


def run_node(make_node: Callable[[], Any], args: list[str] | None = None, holds_at_end: bool = False) -> int:
    """Makes a node and serves it until Ctrl-C, SIGTERM or an error; returns the exit code.

    What a user can mend (parameters, files, packages that are missing) becomes one line on stderr and exit code 1.

    Args:
        make_node: makes it, when ROS has been set up.
        args: command line; None: that of the process.
        holds_at_end: whether `destroy_node` still publishes: a signal then ends the spinning while ROS is up, where rclpy would shut it
            down at once. It does so between two callbacks, so the node must have a timer; a second signal ends a callback that is long.
    """
    node = None
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO if holds_at_end else None)
        if holds_at_end:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
        node = make_node()
        if holds_at_end:
            _spin_until_signal(node)
        else:
            rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except (PolicyTrimError, ParameterException) as error:
        return _failed(error)
    except RuntimeError as error:
        if node is None:  # what rclpy itself says about arguments and parameter files
            return _failed(error)
        if rclpy.ok():
            raise
        return 0  # a signal came while a callback ran: nothing can be published any more
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin_until_signal(node: Any) -> None:
    """Serves a node until SIGINT or SIGTERM.

    The first one is noted, not raised: Python drops what is raised while it frees an object, and the node would run on.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not noted:
            executor.spin_once()
    finally:
        executor.remove_node(node)


def _failed(error: Exception) -> int:
    text = " ".join(str(error).split())
    sys.stderr.write(f"error: {text}\n")
    return 1
