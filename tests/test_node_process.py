"""How a node's process ends: a signal at an awkward moment still leads to its last words."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ros_processes import ROOT, TIMEOUT_S

pytestmark = pytest.mark.slow
pytest.importorskip("rclpy")

SCRIPT = """
import os, signal, sys
from rclpy.node import Node
from policytrim_ros.nodes.process import run_node

class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        sum(range(1000))  # Python runs the handler here, and drops what it raises

class Talker(Node):
    def __init__(self):
        super().__init__("talker")
        self.freed = [Freed()]
        self.create_timer(0.01, self.freed.clear)

    def destroy_node(self):
        print("held")
        super().destroy_node()

sys.exit(run_node(Talker, holds_at_end=True))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_comes_while_an_object_is_freed_still_ends_the_node(name):
    command = [sys.executable, "-c", SCRIPT.format(name=name)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "held\n", "")
