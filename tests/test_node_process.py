"""How a node's process ends: a signal at an awkward moment still leads to its last words, and to exit code 0 without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ros_processes import ROOT, TIMEOUT_S

from policytrim_ros.demo.node_processes import local_domain

pytestmark = pytest.mark.slow
pytest.importorskip("rclpy")

SCRIPT = """
import os, signal, sys, time
from rclpy.node import Node
from policytrim_ros.nodes.process import run_node

def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)
        sum(range(1000))  # Python runs the handler here

class Freed:
    def __del__(self):
        send(signal.{name})  # what a handler raises here is dropped

class Talker(Node):
    def __init__(self):
        super().__init__("talker")
        self.freed = [Freed()] if "{moment}" == "freed" else []
        if "{moment}" == "made":
            send(signal.{name})
        if "{moment}" != "idle":
            self.create_timer(0.01, self.act)
        else:  # nothing but a subscription: nothing wakes it
            signal.signal(signal.SIGALRM, lambda *_: send(signal.{name}))
            signal.setitimer(signal.ITIMER_REAL, 0.5)

    def act(self):
        self.freed.clear()
        if "{moment}" == "twice":
            send(signal.{name}, signal.{name})
        if "{moment}" == "patience":
            send(signal.{name})
            time.sleep(0.6)
            send(signal.{name})
            print("the callback went on")

    def destroy_node(self):
        if "{moment}" == "twice":
            send(signal.{name})
        print("held")
        super().destroy_node()

sys.exit(run_node(Talker))
"""


def run(command):
    environment = os.environ | local_domain()
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("moment", "words"), [("freed", "held\n"), ("twice", "held\n"), ("patience", "held\n"), ("idle", "held\n"), ("made", "")]
)
def test_a_signal_ends_the_node_with_its_last_words_whenever_it_comes(name, moment, words):
    """While an object is freed; twice, as by terminal and launch; in a long callback; where nothing wakes the node; before it is made."""
    command = [sys.executable, "-c", SCRIPT.format(name=name, moment=moment)]
    ended = run(command)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, words, "")


@pytest.mark.parametrize("node", ["sim_arm_node", "policy_node", "monitor_node"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_every_node_is_run_so(node, name):
    """A signal soon after its start ends each of them alike."""
    script = (
        f"import os, signal, sys, threading\nfrom policytrim_ros.nodes import {node}, process\n"
        "served = process._spin_until\n"
        "def spin(ending, node):\n"
        f"    threading.Timer(0.3, os.kill, (os.getpid(), signal.{name})).start()\n"
        "    served(ending, node)\n"
        f"process._spin_until = spin\nsys.exit({node}.main([]))\n"
    )
    ended = run([sys.executable, "-c", script])
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
