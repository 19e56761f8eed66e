"""Goals of one controller: each replaces the former one, and the newest one counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from rclpy.action import ActionClient
from rclpy.action.client import GoalStatus

MOST_CHECKS = 100
"""So often `check` may find a goal without an answer. Checks are counted, not seconds: a process that stands still makes none."""
_ENDS = {GoalStatus.STATUS_ABORTED: "aborted", GoalStatus.STATUS_CANCELED: "cancelled", GoalStatus.STATUS_SUCCEEDED: "ended"}
_ERRORS = {
    -1: "invalid goal",
    -2: "invalid joints",
    -3: "old header timestamp",
    -4: "path tolerance violated",
    -5: "goal tolerance violated",
}
"""Words of the error codes of control_msgs/action/FollowJointTrajectory."""


class GoalFailure(NamedTuple):
    """A goal that the arm does not follow."""

    message: str
    is_held: bool  # the controller itself has ended the goal, and holds; false: it goes on with what it had


class GoalChannel:
    """Sends goals and waits for nothing: a new goal replaces the former one on the controller, without a cancel before it.

    What becomes of a goal is told only while it is the newest one: a controller ends the former one as cancelled when it takes the next.

    Args:
        node: whose executor takes the answers.
        action_type: control_msgs/action/FollowJointTrajectory.
        name: of the action.
        on_failure: called when the newest goal is rejected, aborted or cancelled, ends with an error, or gets no answer.
    """

    def __init__(self, node: Any, action_type: Any, name: str, on_failure: Callable[[GoalFailure], None]) -> None:
        self.name, self._on_failure = name, on_failure
        self._client = ActionClient(node, action_type, name)
        self._newest = 0
        self._unanswered: dict[int, int] = {}  # checks that found a goal without an answer, by its number

    @property
    def is_ready(self) -> bool:
        """Whether an action server is there."""
        return bool(self._client.server_is_ready())

    @property
    def is_answered(self) -> bool:
        """Whether every goal was accepted or rejected."""
        return not self._unanswered

    def send(self, goal: Any) -> None:
        """Sends a goal; returns at once."""
        self._newest += 1
        self._unanswered[self._newest] = 0
        self._client.send_goal_async(goal).add_done_callback(partial(self._answered, self._newest))

    def check(self) -> None:
        """Notices a controller that does not answer; to be called at an even rate."""
        self._unanswered = {number: checks + 1 for number, checks in self._unanswered.items()}
        if any(checks > MOST_CHECKS for checks in self._unanswered.values()):
            self._unanswered.clear()
            there = "is there and silent" if self.is_ready else "is gone"
            self._on_failure(GoalFailure(f"{self.name} must answer a goal, its server {there}", is_held=False))

    def forget(self) -> None:
        """Tells nothing any more of the goals so far."""
        self._newest += 1
        self._unanswered.clear()

    def destroy(self) -> None:
        """Ends the client; nothing is told any more."""
        self.forget()
        self._client.destroy()

    def _answered(self, number: int, future: Any) -> None:
        self._unanswered.pop(number, None)
        handle = future.result()
        if handle.accepted:
            handle.get_result_async().add_done_callback(partial(self._ended, number))
        elif number == self._newest:
            self._on_failure(GoalFailure(f"{self.name} rejected a goal", is_held=False))

    def _ended(self, number: int, future: Any) -> None:
        response = future.result()
        code, words = int(response.result.error_code), " ".join(response.result.error_string.split())
        if number != self._newest or (response.status == GoalStatus.STATUS_SUCCEEDED and code >= 0):
            return
        end = _ENDS.get(response.status, f"has status {response.status} for")
        error = f"error {code}, {_ERRORS.get(code, 'unknown')}" if code else "no error code"
        self._on_failure(GoalFailure(f"{self.name} {end} a goal: {error}{f' ({words})' if words else ''}", is_held=True))
