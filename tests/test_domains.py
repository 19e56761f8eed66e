"""DDS domains of tests and demo: nobody gets one that another process has claimed or is in."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from policytrim_gym.errors import CannotListen
from policytrim_ros.demo.domains import ClaimedDomain

CLAIM = "from policytrim_ros.demo.domains import ClaimedDomain\ndomain = ClaimedDomain()\nprint(domain.number, flush=True)\ninput()\n"


def test_a_domain_is_given_once_until_it_is_released():
    with ClaimedDomain() as domain:
        assert domain.environment["ROS_DOMAIN_ID"] == str(domain.number)
        with pytest.raises(CannotListen, match=f"one of the DDS domains {domain.number}..{domain.number} must be free, all 1 are in use"):
            ClaimedDomain([domain.number])
    ClaimedDomain([domain.number]).release()


def test_a_claim_of_another_process_holds_until_it_is_killed():
    process = subprocess.Popen([sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        number = int(process.stdout.readline())
        with pytest.raises(CannotListen):
            ClaimedDomain([number])
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    ClaimedDomain([number]).release()


def test_a_domain_with_a_participant_that_claimed_nothing_is_in_use(monkeypatch):
    rclpy = pytest.importorskip("rclpy")
    from rclpy.context import Context
    from rclpy.node import Node

    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with ClaimedDomain() as domain:
        context = Context()
        rclpy.init(context=context, domain_id=domain.number)
    node = Node("nobody", context=context)
    try:
        with pytest.raises(CannotListen):
            ClaimedDomain([domain.number])
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
