"""Laws of the size of one normalised unit of action."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from policytrim_gym.training.action_scale import motion_scale
from policytrim_gym.training.demonstrations import Demonstration

RANGE = [6.0, 6.0, 1.0]
TARGETS = ("position",) * 3
ORIGINS = (0, 1, None)


def joint_demonstrations(unit: float = 1.0) -> list[Demonstration]:
    """Joint 0 moves by up to 0.05, joint 1 rests, the gripper closes; the state is the last targets."""
    random = np.random.default_rng(0)
    demonstrations = []
    for _ in range(5):
        steps = random.uniform(-0.05, 0.05, 60)
        joint = unit * np.cumsum(np.concatenate([[0.7], steps]))
        targets = np.stack([joint, np.full(61, unit * 0.3), np.repeat([0.0, 1.0], [30, 31])], axis=1).astype(np.float32)
        demonstrations.append(Demonstration("lift", "lift it", targets[:-1], targets[1:]))
    return demonstrations


def test_demonstrated_motions_are_about_one_and_other_dimensions_stay() -> None:
    demonstrations = joint_demonstrations()
    scale = motion_scale(demonstrations, RANGE, TARGETS, ORIGINS)
    steps = np.concatenate([np.abs(episode.actions - episode.states) for episode in demonstrations])
    np.testing.assert_allclose(scale[0], np.percentile(steps[:, 0], 98), rtol=1e-3)
    assert scale[2] == 1


def test_a_dimension_that_never_moves_explores_a_thousandth_of_its_range() -> None:
    assert motion_scale(joint_demonstrations(), RANGE, TARGETS, ORIGINS)[1] == pytest.approx(6e-3)
    unbounded = motion_scale(joint_demonstrations(), [np.inf] * 3, TARGETS, ORIGINS)
    assert unbounded[1] == pytest.approx(1e-6) and np.isfinite(unbounded).all()


def test_the_unit_scales_with_the_unit_of_the_actions() -> None:
    in_rad = motion_scale(joint_demonstrations(), RANGE, TARGETS, ORIGINS)
    in_mrad = motion_scale(joint_demonstrations(1000.0), np.array(RANGE) * 1000, TARGETS, ORIGINS)
    np.testing.assert_allclose(in_mrad[:2], 1000 * in_rad[:2], rtol=1e-3)


def test_targets_with_origins_have_the_scale_of_the_deltas_that_they_sum() -> None:
    deltas = [episode._replace(actions=episode.actions - episode.states) for episode in joint_demonstrations()]
    np.testing.assert_allclose(
        motion_scale(deltas, RANGE, ("delta", "delta", "position"), (None,) * 3),
        motion_scale(joint_demonstrations(), RANGE, TARGETS, ORIGINS),
        rtol=1e-6,
    )


def test_without_motion_nothing_is_scaled() -> None:
    assert motion_scale(joint_demonstrations(), RANGE, None, (None,) * 3).tolist() == [1, 1, 1]
