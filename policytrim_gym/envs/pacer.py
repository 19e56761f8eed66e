"""The uneven pace of a human teleoperator, for scripted experts."""

from __future__ import annotations

import numpy as np

PACE = (0.25, 1.0)
PHASE_STEPS = (8, 30)
PAUSE_PROBABILITY = 0.02
PAUSE_STEPS = (3, 9)
GRASP_STEPS = 10
CONTACT_STEPS = 8
GRIPPER_CHANGE = 0.2


class Pacer:
    """Draws the pace of each phase and the pauses of one episode.

    What needs its timing runs as written: the 10 steps after the gripper's command changes and the first 8 steps of each contact.

    Args:
        random: source of the draws.

    >>> pacer = Pacer(np.random.default_rng(0))
    >>> paces = [pacer.pace(gripper=1.0, in_contact=False) for _ in range(100)]
    >>> min(paces) == 0.0, 0.25 < max(paces) <= 1.0
    (True, True)
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._gripper: float | None = None
        self._grasp_steps_left = 0
        self._contact_steps = 0
        self._pause_steps_left = 0
        self._phase_steps_left = 0
        self._pace = 1.0

    def pace(self, gripper: float, in_contact: bool) -> float:
        """Returns the factor for this step's motion, in {0} or [0.25, 1].

        Args:
            gripper: its command.
            in_contact: whether the hand touches something.
        """
        if self._gripper is not None and abs(gripper - self._gripper) > GRIPPER_CHANGE:
            self._grasp_steps_left = GRASP_STEPS
        self._gripper = gripper
        self._contact_steps = self._contact_steps + 1 if in_contact else 0
        if self._grasp_steps_left > 0 or 0 < self._contact_steps <= CONTACT_STEPS:
            self._grasp_steps_left = max(0, self._grasp_steps_left - 1)
            self._phase_steps_left = 0
            return 1.0
        if self._pause_steps_left > 0:
            self._pause_steps_left -= 1
            return 0.0
        if self._phase_steps_left == 0:
            self._pace = float(self._random.uniform(*PACE))
            self._phase_steps_left = int(self._random.integers(*PHASE_STEPS))
        self._phase_steps_left -= 1
        if self._random.random() < PAUSE_PROBABILITY:
            self._pause_steps_left = int(self._random.integers(*PAUSE_STEPS))
        return self._pace
