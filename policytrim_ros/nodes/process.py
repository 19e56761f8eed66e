"""Runs one node as a process."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from policytrim_gym.errors import PolicyTrimError
from policytrim_ros.shared_memory import clear_unfinished_ports

SAME_CTRL_C_S = 0.5
"""Ctrl-C reaches a node from the terminal and again from launch, which passes it on: what comes so soon after the first is the same [s]."""
LOOK_S = 0.1
"""So often a node that nothing happens to looks whether it shall end [s]."""


def run_node(make_node: Callable[[], Any], args: list[str] | None = None) -> int:
    """Makes a node and serves it until Ctrl-C, SIGTERM or an error; returns the exit code, 0 after a signal.

    ROS stays up until `destroy_node` has returned, so that it can still publish; rclpy's own handlers would shut it down at once. The first
    signal ends the spinning between two callbacks, a later one also ends a callback that is long, or `destroy_node`. What a user can mend
    (parameters, files, packages that are missing) becomes one line on stderr and exit code 1.

    Args:
        make_node: makes it, when ROS has been set up.
    """
    node, ending = None, _Ending()
    try:
        clear_unfinished_ports()
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ending)
        node = make_node()
        _spin_until(ending, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except (PolicyTrimError, ParameterException) as error:
        return _failed(error)
    except RuntimeError as error:
        if node is None:  # what rclpy itself says about arguments and parameter files
            return _failed(error)
        raise
    finally:
        with suppress(KeyboardInterrupt):
            if node is not None:
                node.destroy_node()
        rclpy.try_shutdown()
    return 0


class _Ending:
    """What SIGINT and SIGTERM do: the first is noted while a node is served, and raised before; later ones are raised."""

    def __init__(self) -> None:
        self.noted_s: float | None = None  # when the first came
        self.is_served = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now_s, first = time.monotonic(), self.noted_s is None
        self.noted_s = now_s if self.noted_s is None else self.noted_s
        if not self.is_served if first else now_s - self.noted_s > SAME_CTRL_C_S:
            raise KeyboardInterrupt


def _spin_until(ending: _Ending, node: Any) -> None:
    """Serves a node until a signal.

    It is noted, not raised: raised it could come in the middle of a message's conversion, which makes another error of it, or while Python
    frees an object, where it is dropped and the node would run on.
    """
    ending.is_served = True
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while ending.noted_s is None:
            executor.spin_once(timeout_sec=LOOK_S)
    finally:
        executor.remove_node(node)
        executor.shutdown()  # left to the garbage collector, it may print a traceback about a handle that is gone before it


def _failed(error: Exception) -> int:
    text = " ".join(str(error).split())
    sys.stderr.write(f"error: {text}\n")
    return 1
