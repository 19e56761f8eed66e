"""Closed forms of the Gaussian head."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.gaussian_head import GaussianExploration, gaussian_log_prob, sample_gaussian

torch = pytest.importorskip("torch")

IS_MOTION = torch.tensor([1.0, 1.0, 0.0])


def mean_chunks(num_chunks: int) -> torch.Tensor:
    chunk = torch.randn((4, 3), generator=torch.Generator().manual_seed(0))
    return chunk.expand(num_chunks, 4, 3)


def draw(exploration: GaussianExploration, num_chunks: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean, generator = mean_chunks(num_chunks), torch.Generator().manual_seed(1)
    samples, spread = sample_gaussian(mean, IS_MOTION, exploration, [generator] * num_chunks)
    return mean, samples, spread


def test_log_prob_is_the_sum_of_independent_gaussians() -> None:
    mean, samples, spread = draw(GaussianExploration(action_std=0.3, gain_std=0.2), 5)
    expected = norm.logpdf(samples.numpy(), mean.numpy(), spread.numpy()).sum(axis=-1)
    np.testing.assert_allclose(gaussian_log_prob(samples, mean, spread).numpy(), expected, rtol=1e-5)


def test_without_gain_every_number_has_the_action_std() -> None:
    _, _, spread = draw(GaussianExploration(action_std=0.3), 2)
    np.testing.assert_allclose(spread.numpy(), 0.3, rtol=1e-6)


def test_the_spread_is_the_samples_standard_deviation() -> None:
    mean, samples, spread = draw(GaussianExploration(action_std=0.2, gain_std=0.7), 20_000)
    measured = (samples - mean).square().mean(dim=0)
    torch.testing.assert_close(measured, spread[0].square(), rtol=0.05, atol=0.0)
    expected = 0.2**2 + (0.7 * mean[0] * IS_MOTION).square()
    torch.testing.assert_close(spread[0].square(), expected)


def test_the_gain_is_shared_by_a_chunks_motion_and_spares_the_rest() -> None:
    mean, samples, _ = draw(GaussianExploration(action_std=1e-6, gain_std=0.5), 50)
    ratio = (samples / mean).numpy()
    np.testing.assert_allclose(ratio[..., :2], np.broadcast_to(ratio[:, :1, :1], (50, 4, 2)), atol=1e-3)
    np.testing.assert_allclose(ratio[..., 2], 1.0, atol=1e-3)
    assert ratio[:, 0, 0].std() == pytest.approx(0.5, rel=0.3)


def test_no_gain_and_zero_gain_are_the_same() -> None:
    _, without, _ = draw(GaussianExploration(action_std=0.2), 3)
    _, zero, _ = draw(GaussianExploration(action_std=0.2, gain_std=0.0), 3)
    torch.testing.assert_close(without, zero, rtol=0, atol=0)


def test_the_gradient_is_the_closed_form() -> None:
    """With respect to the mean it is (x - mean) / spread^2, when the spread is held fixed."""
    mean, samples, spread = draw(GaussianExploration(action_std=0.3, gain_std=0.4), 2)
    moving = mean.clone().requires_grad_(True)
    gaussian_log_prob(samples, moving, spread).sum().backward()
    torch.testing.assert_close(moving.grad, (samples - mean) / spread.square())


@pytest.mark.parametrize("values", [{"action_std": 0.0}, {"action_std": -1.0}, {"action_std": float("nan")}, {"gain_std": -0.1}], ids=str)
def test_a_spread_below_its_range_is_refused(values: dict) -> None:
    with pytest.raises(InvalidConfig, match=f"{next(iter(values))} must be"):
        GaussianExploration(**values)
