"""Sampling around a predicted chunk, and the likelihood of what was sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from policytrim_gym.errors import InvalidConfig


@dataclass(frozen=True)
class GaussianExploration:
    """How `sample` spreads around the mean chunk m.

        c = m + action_std * eps + gain_std * z * g,    eps ~ N(0, 1) for each number, z ~ N(0, 1) once a chunk

    where g is m on the dimensions of motion (see `is_motion`) and 0 elsewhere. The fresh noise eps averages out over a chunk and finds
    speed slowly; the shared gain z asks directly whether the whole motion should be faster, and is annealed away once it is.

    Args:
        action_std: fresh noise of each action; in normalised units where the policy has a scale (see `ActionIncrements`), else in those of
            the action.
        gain_std: spread of the gain that a chunk's motion shares [1].

    Raises:
        InvalidConfig: a spread that is negative, or no fresh noise at all.
    """

    action_std: float = 0.15
    gain_std: float = 0.0

    def __post_init__(self) -> None:
        if not self.action_std > 0:
            raise InvalidConfig(f"action_std must be above 0, got {self.action_std}")
        if not self.gain_std >= 0:
            raise InvalidConfig(f"gain_std must be at least 0, got {self.gain_std}")


def sample_gaussian(
    mean: torch.Tensor,
    is_motion: torch.Tensor,
    exploration: GaussianExploration,
    generators: Sequence[torch.Generator],
    relative_spread: torch.Tensor | float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples a chunk around each mean.

    Args:
        mean: (B, H, A).
        is_motion: (A,) 1.0 on dimensions that the gain scales.
        exploration: the spreads.
        generators: (B,) one source of noise for each chunk.
        relative_spread: by what the fresh noise of each number is multiplied, (H, A) or a scalar.

    Returns:
        The samples (B, H, A), and the marginal standard deviation of each number sqrt(std^2 + gain_std^2 g^2), (B, H, A).
    """
    shape = tuple(mean.shape[1:])
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    gain = torch.stack([torch.randn((1, 1), generator=generator) for generator in generators])
    motion = mean * is_motion
    std = exploration.action_std * relative_spread
    samples = mean + std * noise + exploration.gain_std * gain * motion
    spread = torch.sqrt(std**2 + (exploration.gain_std * motion) ** 2)
    return samples, spread


def gaussian_log_prob(samples: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of each action, summed over its dimensions: (B, H, A) x 3 -> (B, H).

    Without gain the actions of a chunk are independent and the sum over an executed prefix is its exact log-likelihood. With gain
    this is each action's marginal: the shared z correlates actions, but the marginals give a far better gradient than the exact
    joint, whose score is dominated by the fresh noise.
    """
    z = (samples - mean) / spread
    return (-0.5 * z**2 - torch.log(spread) - 0.5 * math.log(2 * math.pi)).sum(dim=-1)
