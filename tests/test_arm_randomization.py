"""Laws of what may vary between the arm's initial states."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from arm_envs import make, where
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.engines import ENGINES
from policytrim_gym.envs.arm.randomization import Randomization
from policytrim_gym.envs.arm.scene import Physics, Pose

for module in (*ENGINES, "pinocchio", "pink"):
    pytest.importorskip(module)

RANGES = Randomization(friction=(0.5, 2.0), mass=(0.5, 3.0), light=(0.6, 1.3), delay_steps=(1, 3))


def worlds(monkeypatch: pytest.MonkeyPatch, env: ArmEnv, num_states: int) -> list[Physics]:
    """Returns the worlds of the first initial states."""
    given: list[Physics] = []
    env.reset(**where())
    reset = type(env.engine).reset

    def noted(engine: PhysicsEngine, joints: NDArray[np.float64], poses: Mapping[str, Pose], physics: Physics) -> None:
        given.append(physics)
        reset(engine, joints, poses, physics)

    with monkeypatch.context() as patch:
        patch.setattr(type(env.engine), "reset", noted)
        for index in range(num_states):
            env.reset(**where(initial_state=index))
    return given


def test_each_initial_state_has_its_own_world_within_the_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.array(worlds(monkeypatch, make(randomization=RANGES), 60))
    again = np.array(worlds(monkeypatch, make(randomization=RANGES), 60))
    np.testing.assert_array_equal(drawn, again)
    for column, (low, high) in zip(drawn.T, (RANGES.friction, RANGES.mass, RANGES.light)):
        assert low <= column.min() < low + 0.2 * (high - low) and high - 0.2 * (high - low) < column.max() <= high


def test_without_it_every_world_is_the_nominal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(worlds(monkeypatch, make(), 5)) == {(1.0, 1.0, 1.0)}


def test_a_mapping_is_the_same_as_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = {"friction": [0.5, 2.0], "mass": [0.5, 3.0], "light": [0.6, 1.3], "delay_steps": [1, 3]}
    first, second = (worlds(monkeypatch, make(randomization=given), 5) for given in (mapping, RANGES))
    assert first == second


def test_it_leaves_the_layout_alone() -> None:
    states = [make(randomization=given).reset(**where(initial_state=3))[0]["state"] for given in (None, RANGES)]
    np.testing.assert_allclose(*states, rtol=0, atol=1e-6)


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_delay_shifts_the_motion_by_exactly_its_steps(engine: str, delay: int) -> None:
    plain, delayed = make(engine=engine), make(engine=engine, randomization={"delay_steps": [delay, delay]})
    random = np.random.default_rng(0)
    targets = [np.append(plain.robot.home + random.uniform(-0.3, 0.3, 6), 1.0) for _ in range(15)]
    paths = []
    for env, actions in ((plain, targets), (delayed, targets + targets[-1:] * delay)):
        env.reset(**where())
        measured = [env.step(action)[0]["state"][: env.robot.dof] for action in actions]
        paths.append((env.joint_path, np.array(measured)))
    np.testing.assert_array_equal(paths[1][0][: delay + 1], [plain.robot.home] * (delay + 1))
    np.testing.assert_array_equal(paths[1][0][delay:], paths[0][0])
    np.testing.assert_allclose(paths[1][1][delay:], paths[0][1], rtol=0, atol=1e-3)
