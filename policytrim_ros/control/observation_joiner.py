"""Joins what arrives on different topics into one observation, by time stamp."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig
from policytrim_ros.control.motion_state import MeasuredState

HISTORY_S = 2.0
"""So long joint states are kept [s]: an image may arrive late. A stamp that is older by more is a clock that went back."""


@dataclass(frozen=True, eq=False)
class JoinedObservation:
    """What was seen and measured at one moment.

    Args:
        stamp_s: the moment, which identifies the observation [s].
        positions: of the arm's joints and the gripper at that moment, as `MeasuredState`, (n,) [rad], [m].
        frames: the newest of each input that is compared with the joints, by name: images, poses.
        instruction: the newest one; empty when there was none.
    """

    stamp_s: float
    positions: NDArray[np.float64]
    frames: Mapping[str, Any]
    instruction: str


class ObservationJoiner:
    """Keeps the newest frames and the recent joint states, and says which observation they make.

    The moment of an observation is the stamp of its newest frame; without frames, that of the newest joint state. Chunk index i belongs
    to the control step that begins i steps after this moment, so the joints are put to it: interpolated between the states before and
    after it, or the newest state where none is after it yet. In training, images and joints are of one moment; a joint state that came
    later than the image, as all do on a robot, shows an arm that has moved on. Frames are not interpolated: the others may be older
    than the newest by a bounded time.

    Args:
        frames: names of the inputs beside joint states and instruction, such as "image/front".
        needs_instruction: whether nothing can be asked without one.
        max_skew_s: a frame may be so much older than the newest one [s]; below a camera's period, images that are taken together are
            never mixed.
        joint_tolerance_s: the nearest joint state may be so far from the moment [s].

    Raises:
        InvalidConfig: a time that is not above 0.

    >>> joiner = ObservationJoiner(["image/front"], needs_instruction=False)
    >>> joiner.newest() is None, joiner.missing
    (True, 'joint_states, image/front')
    >>> for stamp_s in (1.0, 1.01):
    ...     joiner.joints_arrived(MeasuredState(np.array([stamp_s]), np.ones(1), stamp_s))
    >>> joiner.frame_arrived("image/front", "picture", 1.005)
    >>> joiner.newest().stamp_s, joiner.newest().positions
    (1.005, array([1.005]))
    """

    def __init__(self, frames: Sequence[str], needs_instruction: bool, max_skew_s: float = 0.05, joint_tolerance_s: float = 0.02) -> None:
        for name, value in (("max_skew_s", max_skew_s), ("joint_tolerance_s", joint_tolerance_s)):
            if not (np.isfinite(value) and value > 0.0):
                raise InvalidConfig(f"{name} must be a finite number above 0, got {value}")
        self._names, self._needs_instruction = tuple(frames), needs_instruction
        self._max_skew_s, self._joint_tolerance_s = max_skew_s, joint_tolerance_s
        self.missing = ""
        """What kept the last `newest` from giving an observation, in words."""
        self._instruction: str | None = None
        self.restart()

    def restart(self) -> None:
        """Forgets joints and frames, as after a clock that went back; the instruction stays."""
        self._stamps: list[float] = []
        self._positions: list[NDArray[np.float64]] = []
        self._frames: dict[str, tuple[float, Any]] = {}

    def forget(self) -> None:
        """Forgets everything, the instruction too: whoever listens anew may be told another one, and must not begin with the old."""
        self._instruction = None
        self.restart()

    def joints_arrived(self, measured: MeasuredState) -> None:
        """Takes joints; what is not newer than what is there is left out, unless the clock went back."""
        if self._stamps and measured.stamp_s <= self._stamps[-1]:
            if measured.stamp_s > self._stamps[-1] - HISTORY_S:
                return
            self.restart()
        self._stamps.append(measured.stamp_s)
        self._positions.append(measured.positions)
        old = bisect.bisect_left(self._stamps, measured.stamp_s - HISTORY_S)
        del self._stamps[:old], self._positions[:old]

    def frame_arrived(self, name: str, frame: Any, stamp_s: float) -> None:
        """Takes an image or a pose; one that is not newer than what is there is left out, unless the clock went back."""
        if name not in self._names:
            raise InvalidConfig(f"a frame must be one of {self._names}, got {name!r}")
        before_s = self._frames[name][0] if name in self._frames else -np.inf
        if stamp_s > before_s or stamp_s < before_s - HISTORY_S:
            self._frames[name] = (stamp_s, frame)

    def instruction_arrived(self, instruction: str) -> None:
        """Takes the sentence that says what to do; it holds until another one comes."""
        self._instruction = instruction

    def newest(self) -> JoinedObservation | None:
        """Returns the newest observation, or None; then `missing` says why."""
        self.missing = self._absent()
        if self.missing:
            return None
        stamps = {name: self._frames[name][0] for name in self._names}
        moment_s = max(stamps.values(), default=self._stamps[-1])
        for name, stamp_s in stamps.items():
            if moment_s - stamp_s > self._max_skew_s:
                newest = max(stamps, key=stamps.__getitem__)
                self.missing = f"{name}, {moment_s - stamp_s:.3f} s older than {newest}, at most {self._max_skew_s:g} s"
                return None
        positions = self._positions_at(moment_s)
        if positions is None:
            return None
        return JoinedObservation(moment_s, positions, {name: self._frames[name][1] for name in self._names}, self._instruction or "")

    def _absent(self) -> str:
        absent = [] if self._stamps else ["joint_states"]
        absent += [name for name in self._names if name not in self._frames]
        if self._needs_instruction and self._instruction is None:
            absent.append("instruction")
        return ", ".join(absent)

    def _positions_at(self, moment_s: float) -> NDArray[np.float64] | None:
        """Returns the joints at a moment; None, and `missing` says why, when none were measured near it."""
        after = bisect.bisect_left(self._stamps, moment_s)
        neighbours = [index for index in (after - 1, after) if 0 <= index < len(self._stamps)]
        gap_s = min(abs(self._stamps[index] - moment_s) for index in neighbours)
        if gap_s > self._joint_tolerance_s:
            self.missing = f"joint_states within {self._joint_tolerance_s:g} s of the newest frame, the nearest is {gap_s:.3f} s from it"
            return None
        if len(neighbours) == 1:
            return self._positions[neighbours[0]]
        before_s, after_s = self._stamps[after - 1], self._stamps[after]
        share = (moment_s - before_s) / (after_s - before_s)
        return (1.0 - share) * self._positions[after - 1] + share * self._positions[after]
