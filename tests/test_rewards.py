"""Laws of the rewards, and the worked example of stage 2."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.advantages import group_advantages
from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidRollout
from policytrim_gym.rewards import horizon_reward, stability_penalty, stage1_returns, stage2_returns, step_saving_reward

STEPS = np.array([108, 95, 60, 120, 110, 105, 100, 999], dtype=float)
SUCCESS = np.array([True] * 7 + [False])


@pytest.fixture
def random_groups() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((50, 8)) < 0.6, rng.integers(1, 500, (50, 8)).astype(float)


def test_worked_example_of_stage_2() -> None:
    returns = stage2_returns(SUCCESS, STEPS, base_steps=140, kappa=0.8, lam=0.2, sigma_floor=5.0)
    np.testing.assert_allclose(returns, [1.096, 1.205, 1.262, 0.951, 1.067, 1.142, 1.225, 0], atol=6e-4)
    np.testing.assert_allclose(group_advantages(returns[None])[0], [0.25, 0.51, 0.65, -0.10, 0.18, 0.36, 0.56, -2.40], atol=6e-3)


def test_every_term_is_non_negative_and_zero_on_failure(random_groups) -> None:
    success, steps = random_groups
    horizon = np.random.default_rng(1).integers(1, 16, success.shape)
    terms = [
        horizon_reward(success, horizon, 15),
        step_saving_reward(success, steps, 200),
        stability_penalty(success, steps),
        stability_penalty(success, steps, mode="gate"),
        stability_penalty(success, steps, one_sided=True),
        stage1_returns(success, horizon, 15),
        stage2_returns(success, steps, 200),
    ]
    for term in terms:
        assert term.shape == success.shape
        assert (term >= 0).all()
        assert (term[~success] == 0).all()


def test_zero_weights_leave_the_plain_success(random_groups) -> None:
    success, steps = random_groups
    np.testing.assert_array_equal(stage1_returns(success, 5, 15, beta=0.0), success)
    np.testing.assert_array_equal(stage2_returns(success, steps, 140, kappa=0.0, lam=0.0), success)


def test_what_a_failure_holds_is_ignored() -> None:
    with_nan = np.where(SUCCESS, STEPS, np.nan)
    np.testing.assert_array_equal(stage2_returns(SUCCESS, STEPS, 140), stage2_returns(SUCCESS, with_nan, 140))


def test_groups_do_not_see_each_other(random_groups) -> None:
    success, steps = random_groups
    together = stage2_returns(success, steps, 200)
    apart = np.stack([stage2_returns(row, row_steps, 200) for row, row_steps in zip(success, steps, strict=True)])
    np.testing.assert_allclose(together, apart)


def test_base_steps_may_differ_between_groups() -> None:
    saved = step_saving_reward([[True, True], [True, True]], [[50, 100], [50, 100]], base_steps=[[100], [200]], kappa=1.0)
    np.testing.assert_allclose(saved, [[0.5, 0.0], [0.75, 0.5]])


def test_penalty_is_unchanged_by_a_shift_and_by_a_common_scale_above_the_floor() -> None:
    success, steps = [True] * 4, np.array([100.0, 150, 200, 260])
    np.testing.assert_allclose(stability_penalty(success, steps), stability_penalty(success, steps + 37))
    np.testing.assert_allclose(stability_penalty(success, steps), stability_penalty(success, steps * 3))


def test_floor_and_gate_differ_in_tight_groups_only() -> None:
    success = [True] * 4
    tight, wide = [100, 101, 102, 103], [60, 90, 120, 200]
    assert (stability_penalty(success, tight, mode="gate") == 0).all()
    assert (stability_penalty(success, tight, mode="floor") > 0).all()
    np.testing.assert_array_equal(stability_penalty(success, wide, mode="gate"), stability_penalty(success, wide, mode="floor"))


def test_one_sided_penalises_fast_rollouts_only() -> None:
    penalty = stability_penalty([True] * 3, [60, 100, 140], one_sided=True)
    assert penalty[0] == stability_penalty([True] * 3, [60, 100, 140])[0] > 0
    assert (penalty[1:] == 0).all()


def test_floor_divides_the_distance_in_a_tight_group() -> None:
    penalty = stability_penalty([True, True], [99, 101], lam=0.2, sigma_floor=5.0)  # mu = 100, sigma = 1 < floor
    np.testing.assert_allclose(penalty, 0.2 * np.tanh(1 / 5))


@pytest.mark.parametrize("horizon", [0, 16, -1, np.nan])
def test_horizon_outside_the_chunk_is_refused(horizon: float) -> None:
    with pytest.raises(InvalidHorizon, match=r"1\.\.15"):
        horizon_reward([True], [horizon], 15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kappa": -0.1}, "kappa .* -0.1"),
        ({"kappa": float("nan")}, "kappa .* nan"),
        ({"lam": -1}, "lam .* -1"),
        ({"sigma_floor": 0.0}, "sigma_floor .* 0.0"),
        ({"mode": "gated"}, "mode .*'floor', 'gate'.* 'gated'"),
        ({"base_steps": 0}, "base_steps .* 0"),
    ],
)
def test_settings_out_of_range_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        stage2_returns(SUCCESS, STEPS, **{"base_steps": 140, **arguments})


@pytest.mark.parametrize(
    ("success", "steps", "message"),
    [
        ([True, True], [10], r"one shape, got \(2,\) and \(1,\)"),
        ([True, True], [10, np.nan], "positive number of steps, got nan"),
        ([True, True], [10, 0], "positive number of steps, got 0.0"),
        ([0.5, 1.0], [10, 10], "booleans"),
        (True, 10, "group axis"),
    ],
)
def test_outcomes_that_do_not_fit_are_refused(success, steps, message: str) -> None:
    with pytest.raises(InvalidRollout, match=message):
        stability_penalty(success, steps)
