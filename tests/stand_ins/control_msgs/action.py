"""FollowJointTrajectory on the wire of test_msgs' Fibonacci: an order for a trajectory, a sequence for an error code.

What it cannot show: that the real type has these fields, and what a real controller does.
"""

from __future__ import annotations

from typing import Any

from test_msgs.action import Fibonacci


class Goal(Fibonacci.Goal):
    """Sends the number of waypoints and what identifies the trajectory."""

    __slots__ = ()

    def __init__(self, *, trajectory: Any) -> None:
        super().__init__(order=len(trajectory.points))


class FollowJointTrajectory(Fibonacci):
    """The action."""

    Goal = Goal


Fibonacci.Result.error_code = property(lambda result: result.sequence[0] if result.sequence else 0)
Fibonacci.Result.error_string = "stands in"
