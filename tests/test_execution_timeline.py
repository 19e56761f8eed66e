"""Laws of the memory of what the controller plays, also in the last moments before it rests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from executor_rig import JOINTS, ROBOT, Rig, following, walk

from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.commands import Publish, Refused
from policytrim_ros.control.execution_timeline import ExecutionTimeline
from policytrim_ros.control.motion_state import MotionState, Waypoints
from policytrim_ros.control.trajectory import Trajectory

LEAD_S = 0.1
FAR = np.tile(np.append(ROBOT.home, 1.0), (16, 1))
FAR[:, 0] += np.linspace(0.1, 1.4, 16)  # the arm never gets there, and brakes at its end


def rig_before_its_end(before_s: float, replacement: str) -> Rig:
    """An arm that brakes at the end of its only chunk and rests in `before_s`; less than that does a message need."""
    rig = Rig(lambda step: FAR, math.inf, replacement=replacement, settle_s=0.0, publish_lead_s=LEAD_S).begin()
    rig.run(0.1)
    rig.carry_out(rig.executor.answer_arrived(ChunkAnswer(FAR, JOINTS.labels, rig.now_s), rig.now_s))
    end_s = rig.of(Publish)[0].arm.end_s
    rig.watchdog.answered("policy")
    while rig.now_s < end_s - before_s - 1e-9:
        rig.step()
        rig.watchdog.answered("policy")
    return rig


@pytest.mark.parametrize("replacement", ["hard", "stamp"])
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("before_s", [0.09, 0.05, 0.02])
def test_an_answer_in_the_last_moments_of_a_motion_leaves_them_as_they_are(before_s: float, refused: bool, replacement: str) -> None:
    rig = rig_before_its_end(before_s, replacement)
    assert np.abs(rig.desired[-1][1].velocities[0]) > 0.01
    if refused:
        rig.carry_out(rig.executor.answer_arrived(ChunkAnswer(FAR + 10.0, JOINTS.labels, rig.now_s - 0.001), rig.now_s))
        assert len(rig.of(Refused)) == 1
    rig.carry_out(rig.executor.answer_arrived(ChunkAnswer(FAR, JOINTS.labels, rig.now_s), rig.now_s))
    assert len(rig.of(Publish)) == 2
    rig.run(0.3)
    velocities = np.array([state.velocities for _, state in rig.desired])
    assert (np.abs(np.diff(velocities, axis=0)) <= ROBOT.limits.acceleration * 0.01 * (1 + 1e-6) + 1e-9).all()


def test_a_new_grid_changes_nothing_of_the_present_motion() -> None:
    timeline = ExecutionTimeline(MotionState(np.zeros(1), np.ones(1)), 1e9, 0.05)
    motion = Trajectory(("elbow",), np.array([[0.0], [0.1]]), np.array([[1.0], [0.0]]), np.array([0.0, 0.2]), 1e9)
    timeline.published(motion, 0.0, 0)
    times_s = [1e9 + 0.01 * index for index in range(40)]
    before = [timeline.reference(at_s) for at_s in times_s]
    assert timeline.next_join(1e9 + 0.15, 0.06) == 0.0 and timeline.clock_s(0.0) == 1e9 + 0.15 + 0.06
    for wanted, at_s in zip(before, times_s):
        np.testing.assert_allclose(timeline.reference(at_s), wanted, rtol=0, atol=1e-6)
    assert not timeline.at_rest(1e9 + 0.19) and timeline.at_rest(1e9 + 0.21)
    kept, _ = timeline.splice(0.0, Waypoints(np.array([0.05]), np.zeros((1, 1)), np.zeros((1, 1))), 1e9 + 0.15)
    np.testing.assert_allclose(kept.velocities[:, 0], [0.25, 0.0, 0.0, 0.0], atol=1e-6)  # now, at its end, at the join, after it


@pytest.mark.parametrize("replacement", ["hard", "stamp"])
@pytest.mark.parametrize("later_steps", [0, 3, 8, 12])
@pytest.mark.parametrize("seed", range(3))
def test_a_stop_soon_after_a_chunk_brakes_from_what_is_played_then(seed: int, later_steps: int, replacement: str) -> None:
    random = np.random.default_rng(seed)
    rig = Rig(following(walk(seed)), lambda _: random.uniform(0.02, 0.5), replacement=replacement, publish_lead_s=LEAD_S).begin()
    rig.run(1.0)
    published = len(rig.of(Publish))
    while len(rig.of(Publish)) == published:
        rig.step()
    rig.run(later_steps * 0.01)  # below LEAD_S a controller that splices at the stamp has not begun the chunk, and never will
    rig.carry_out(rig.executor.stop(rig.now_s))
    rig.run(0.8)
    velocities = np.array([state.velocities for _, state in rig.desired])
    assert (np.abs(np.diff(velocities, axis=0)) <= ROBOT.limits.acceleration * 0.01 * (1 + 1e-3)).all()
