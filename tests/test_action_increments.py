"""Laws of normalised increments: what a network predicts, against what an environment takes."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.chunk import resample_actions
from policytrim_gym.errors import InvalidSpec

torch = pytest.importorskip("torch")

from policytrim_gym.policies.action_increments import ActionIncrements, is_motion  # noqa: E402

ORIGINS = (4, None, 0)
SCALE = [0.01, 3.0, 0.2]


def random_batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns chunks (7, 6, 3) and states (7, 5)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((7, 6, 3), generator=generator), torch.randn((7, 5), generator=generator)


@pytest.mark.parametrize("origins", [ORIGINS, (None, None, None), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("scale", [None, SCALE], ids=str)
def test_each_way_undoes_the_other(origins: tuple[int | None, ...], scale: list[float] | None) -> None:
    increments, (chunks, state) = ActionIncrements(origins, scale), random_batch()
    torch.testing.assert_close(increments.from_actions(increments.to_actions(chunks, state), state), chunks, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(increments.to_actions(increments.from_actions(chunks, state), state), chunks, rtol=1e-5, atol=1e-5)


def test_without_origins_and_scale_not_a_bit_changes() -> None:
    increments, (chunks, state) = ActionIncrements((None,) * 3), random_batch()
    assert increments.is_identity
    for result in (increments.to_actions(chunks, state), increments.from_actions(chunks, state)):
        torch.testing.assert_close(result, chunks, rtol=0, atol=0)


def test_an_origin_or_a_scale_alone_is_no_identity() -> None:
    assert not ActionIncrements((0, None)).is_identity
    assert not ActionIncrements((None, None), [1.0, 0.5]).is_identity


def test_a_chunk_moves_with_its_origins_and_with_nothing_else_of_the_state() -> None:
    increments, (chunks, state) = ActionIncrements(ORIGINS, SCALE), random_batch()
    for index in range(5):
        shifted = state.clone()
        shifted[:, index] += 0.5
        difference = increments.to_actions(chunks, shifted) - increments.to_actions(chunks, state)
        expected = 0.5 * torch.tensor([float(origin == index) for origin in ORIGINS]).expand_as(chunks)
        torch.testing.assert_close(difference, expected, rtol=0, atol=1e-5)


def test_a_chunk_of_no_increments_stays_at_the_last_target() -> None:
    _, state = random_batch()
    actions = ActionIncrements(ORIGINS, SCALE).to_actions(torch.zeros((7, 6, 3)), state)
    torch.testing.assert_close(actions[..., 0], state[:, None, 4].expand(7, 6), rtol=0, atol=0)
    assert (actions[..., 1] == 0).all()


def test_gradients_of_early_increments_reach_every_later_action() -> None:
    increments, (chunks, state) = ActionIncrements(ORIGINS, SCALE), random_batch()
    chunks.requires_grad_()
    increments.to_actions(chunks, state)[:, -1].sum().backward()
    assert chunks.grad is not None
    torch.testing.assert_close(chunks.grad[0, :, 0], torch.full((6,), 0.01))
    torch.testing.assert_close(chunks.grad[0, :, 1], torch.tensor([0.0] * 5 + [3.0]))


@pytest.mark.parametrize("rate", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_targets_played_faster_are_the_sums_of_increments_played_faster(rate: float) -> None:
    increments, (chunks, state) = ActionIncrements((4, 2, 0)), random_batch()
    for deltas, row in zip(chunks, state):
        targets = increments.to_actions(deltas[None], row[None])[0]
        played = torch.from_numpy(resample_actions(deltas, rate, ("delta",) * 3))
        expected = increments.to_actions(played[None], row[None])[0]
        np.testing.assert_allclose(resample_actions(targets, rate, ("position",) * 3), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [[1.0], [1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0], 1.0], ids=str)
def test_an_impossible_scale_is_refused(scale: list[float]) -> None:
    with pytest.raises(InvalidSpec, match="action_scale must be 3 finite numbers above 0, got"):
        ActionIncrements(ORIGINS, scale)


def test_motions_are_deltas_and_targets_that_continue() -> None:
    assert is_motion(None, (None, 3)).tolist() == [False, True]
    assert is_motion(("delta", "position"), (None, None)).tolist() == [True, False]
