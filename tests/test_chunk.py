"""Laws of the action chunk, its horizon and its resampling."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.chunk import ActionChunk, check_horizon, resample_actions
from policytrim_gym.errors import InvalidChunk, InvalidHorizon, InvalidSpec

RNG = np.random.default_rng(0)
RATES = (0.5, 0.75, 1.0, 1.3, 1.5, 2.0, 3.0, 10.0, 100.0)
LENGTHS = (1, 2, 3, 7, 8, 32)


def test_a_chunk_is_a_read_only_float32_copy() -> None:
    source = np.ones((3, 2))
    chunk = ActionChunk(source)
    source[:] = 5
    assert chunk.actions.dtype == np.float32 and (chunk.actions == 1).all()
    assert (chunk.chunk_size, chunk.action_dim) == (3, 2)
    with pytest.raises(ValueError, match="read-only"):
        chunk.actions[0, 0] = 1
    with pytest.raises(AttributeError):
        chunk.actions = source  # type: ignore[misc,assignment]


@pytest.mark.parametrize("executed", range(4))
def test_head_and_tail_are_the_chunk(executed: int) -> None:
    chunk = ActionChunk(RNG.normal(size=(3, 2)))
    np.testing.assert_array_equal(np.concatenate([chunk.actions[:executed], chunk.tail(executed)]), chunk.actions)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([1.0, 2.0], r"\(2,\)"),
        (np.zeros((1, 2, 3)), r"\(1, 2, 3\)"),
        (np.zeros((0, 2)), r"\(0, 2\)"),
        (np.zeros((2, 0)), r"\(2, 0\)"),
        ([[0.0, np.nan]], "got nan at step 0, dimension 1"),
        ([[0.0], [-np.inf]], "got -inf at step 1, dimension 0"),
        ([[1e300]], "got inf"),
        ("abc", "array of numbers, got str"),
        ([[1], [1, 2]], "array of numbers"),
        (None, "chunk"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_no_chunk_is_refused(actions, message: str) -> None:
    with pytest.raises(InvalidChunk, match=message):
        ActionChunk(actions)


@pytest.mark.parametrize("horizon", [1, 8, np.int64(3)])
def test_a_horizon_inside_the_chunk_passes(horizon) -> None:
    assert check_horizon(horizon, 8) == horizon and type(check_horizon(horizon, 8)) is int


@pytest.mark.parametrize("horizon", [0, 9, -1, 1.0, True, None, "3"])
def test_a_horizon_outside_the_chunk_is_refused(horizon) -> None:
    with pytest.raises(InvalidHorizon, match=r"1\.\.8"):
        check_horizon(horizon, 8)


@pytest.mark.parametrize("n", LENGTHS)
def test_rate_one_is_the_identity(n: int) -> None:
    actions = RNG.normal(size=(n, 2)).astype(np.float32)
    np.testing.assert_array_equal(resample_actions(actions, 1.0, ("delta", "position")), actions)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("rate", RATES)
def test_the_number_of_steps_is_rounded_and_at_least_one(n: int, rate: float) -> None:
    out = resample_actions(np.zeros((n, 1)), rate, ("delta",))
    assert len(out) == max(1, int(np.floor(n / rate + 0.5)))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("rate", RATES)
def test_deltas_keep_their_sum_and_positions_their_end(n: int, rate: float) -> None:
    actions = RNG.normal(size=(n, 3))
    out = resample_actions(actions, rate, ("delta", "position", "delta"))
    np.testing.assert_allclose(out[:, [0, 2]].sum(axis=0), actions[:, [0, 2]].sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[-1, 1], actions[-1, 1], rtol=1e-6)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("rate", [rate for rate in RATES if rate >= 1])
def test_a_position_that_moves_at_constant_speed_goes_on_so_at_every_rate(n: int, rate: float) -> None:
    ramp = np.arange(1.0, n + 1)[:, None]  # command i is where step i ends
    out = resample_actions(ramp, rate, ("position",)).ravel()
    np.testing.assert_allclose(out, n / len(out) * np.arange(1, len(out) + 1), rtol=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_constant_motion_stays_constant(rate: float) -> None:
    out = resample_actions(np.full((12, 1), 0.1), rate, ("delta",))
    np.testing.assert_allclose(out, 1.2 / len(out), rtol=1e-5)


def test_what_the_actuator_cannot_do_is_cut() -> None:
    out = resample_actions(np.full((4, 2), 0.8), 2.0, ("delta", "position"), low=[-1, -0.5], high=[1, 0.5])
    np.testing.assert_array_equal(out, np.tile(np.float32([1.0, 0.5]), (2, 1)))


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(InvalidSpec, match="playback_rate"):
        resample_actions(np.zeros((2, 1)), rate, ("delta",))


@pytest.mark.parametrize("kinds", [(), ("delta",), ("delta", "velocity"), ("delta",) * 3])
def test_kinds_that_do_not_fit_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSpec, match="action_kinds must be 2"):
        resample_actions(np.zeros((2, 2)), 2.0, kinds)
