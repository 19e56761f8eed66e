"""From features to a chunk: all actions at once, or by denoising.

Both ends are alike to the policy: a chunk is sampled around a mean with fresh noise for each number and a gain that its motion shares
(`GaussianExploration`), so that the likelihood of an executed prefix is the sum over its actions. What stands before the mean differs: the
Gaussian head has nothing there, the flow head the actions before their last denoising step.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.flow_sde import denoising_time, euler_step, last_step_std, sde_moments
from policytrim_gym.policies.gaussian_head import GaussianExploration
from policytrim_gym.policies.increment_loss import increment_loss
from policytrim_gym.policies.tiny_vla.configuration import TinyVLAConfig
from policytrim_gym.policies.tiny_vla.settings import EXPLORATION

TIME_SIZE = 32
LEAST_SPREAD, MOST_SPREAD = 0.25, 4.0
"""Of the learned spread beside its mean of 1: no action is explored too little to learn from, none so much that it spoils its episode."""

DRAWS = 8
"""Noises and times that a flow learns from for each image that is encoded, which costs far more than they do."""

SPREAD_WEIGHT = 0.01
"""Of the spread's likelihood in the imitation loss; it has parameters of its own and reaches no others."""


class Decoded(NamedTuple):
    """What a head makes of features; each (B, H, A)."""

    given: torch.Tensor  # what the mean was computed from beside the features; (B, 0) for a Gaussian
    mean: torch.Tensor  # of the samples
    best: torch.Tensor  # the prediction


class ChunkHead(nn.Module):
    """What both heads offer."""

    noise = 0.0
    """a of Flow-SDE, which the mean depends on; 0 for a Gaussian."""

    def __init__(self, config: TinyVLAConfig) -> None:
        super().__init__()
        self.chunk_shape = (config.chunk_size, config.action_dim)
        self.set_exploration(**EXPLORATION[config.head][0])

    exploration: GaussianExploration

    @property
    def relative_spread(self) -> torch.Tensor:
        """By what the fresh noise of each number is multiplied, (H, A) or a scalar."""
        return torch.tensor(1.0)

    @abstractmethod
    def set_exploration(self, **values: float) -> None:
        """Sets the spread of samples; see `EXPLORATION` for the names."""

    def draw(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Returns the noise that `decode` starts from, one row for each generator."""
        return torch.zeros(len(generators), 0)

    @abstractmethod
    def decode(self, features: torch.Tensor, noise: torch.Tensor) -> Decoded:
        """Returns the chunk of each row of features (B, hidden_size)."""

    @abstractmethod
    def mean(self, features: torch.Tensor, given: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Returns the mean of samples again, with gradient, (B, H, A).

        Args:
            features: (B, hidden_size).
            given: of `Decoded`.
            noise: a, (B, 1, 1), as it was when sampled.
        """

    @abstractmethod
    def imitation_loss(
        self, features: torch.Tensor, target: torch.Tensor, continued: Sequence[int], generator: torch.Generator
    ) -> torch.Tensor:
        """Returns the loss of predicting the normalised increments `target`, (B, H, A); see `increment_loss` for `continued`."""


class GaussianHead(ChunkHead):
    """Predicts all actions of a chunk at once, as OpenVLA-OFT's regression head (arXiv 2502.19645), with a learned spread beside them.

    The spread of each action of the chunk is learnt when imitating, as the likelihood of what the mean misses there: what demonstrations
    themselves leave open is explored more. It has a mean of 1; how wide exploration is in all is `action_std`.
    """

    def __init__(self, config: TinyVLAConfig) -> None:
        super().__init__(config)
        self.out = nn.Linear(config.hidden_size, config.chunk_size * config.action_dim)
        self.log_spread = nn.Parameter(torch.zeros(self.chunk_shape))

    @property
    def relative_spread(self) -> torch.Tensor:
        spread = self.log_spread.detach().exp()
        return (spread / spread.mean()).clamp(LEAST_SPREAD, MOST_SPREAD)

    def set_exploration(self, **values: float) -> None:
        try:
            self.exploration = GaussianExploration(**values)
        except TypeError as error:
            raise InvalidConfig(f"exploration of this policy has action_std and gain_std, got {sorted(values)}") from error

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, hidden_size) -> (B, H, A)."""
        chunk: torch.Tensor = self.out(features).view(-1, *self.chunk_shape)
        return chunk

    def decode(self, features: torch.Tensor, noise: torch.Tensor) -> Decoded:
        mean = self(features)
        return Decoded(noise, mean, mean)

    def mean(self, features: torch.Tensor, given: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self(features)
        return mean

    def imitation_loss(
        self, features: torch.Tensor, target: torch.Tensor, continued: Sequence[int], generator: torch.Generator
    ) -> torch.Tensor:
        errors = self(features) - target
        # The likelihood of a Laplace distribution, whose location an absolute error fits.
        spread_loss = (self.log_spread + errors.detach().abs() / self.log_spread.exp()).mean()
        return increment_loss(errors, continued) + SPREAD_WEIGHT * spread_loss


class FlowHead(ChunkHead):
    """Denoises a chunk in K steps of a flow, the last of them stochastic when sampled (see `flow_sde`), as pi0 does."""

    def __init__(self, config: TinyVLAConfig) -> None:
        self._num_steps = config.num_inference_steps
        super().__init__(config)
        numbers = config.chunk_size * config.action_dim
        self.inputs = nn.Linear(numbers + TIME_SIZE + config.hidden_size, config.hidden_size)
        self.between = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, numbers)

    def set_exploration(self, **values: float) -> None:
        if set(values) != set(EXPLORATION["flow"][0]):
            raise InvalidConfig(f"exploration of a flow must have both noise (a of Flow-SDE) and gain_std, got {sorted(values)}")
        if not (math.isfinite(values["noise"]) and values["noise"] > 0):
            raise InvalidConfig(f"noise must be above 0, got {values['noise']}")
        self.noise = float(values["noise"])
        self.exploration = GaussianExploration(last_step_std(self._num_steps, self.noise), values["gain_std"])

    def draw(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        return torch.stack([torch.randn(self.chunk_shape, generator=generator) for generator in generators])

    def forward(self, features: torch.Tensor, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Returns the velocity noise - actions at x (B, H, A) and time (B,)."""
        hidden = nn.functional.gelu(self.inputs(torch.cat([x.flatten(1), _time_features(time), features], dim=1)))
        hidden = hidden + nn.functional.gelu(self.between(hidden))
        velocity: torch.Tensor = self.out(hidden).view(-1, *self.chunk_shape)
        return velocity

    def decode(self, features: torch.Tensor, noise: torch.Tensor) -> Decoded:
        x = noise
        for step in range(self._num_steps):
            velocity = self(features, x, torch.full((len(x),), denoising_time(step, self._num_steps)))
            if step < self._num_steps - 1:
                x = euler_step(x, velocity, self._num_steps)
        mean = self._last_mean(x, velocity, torch.tensor(self.noise))
        return Decoded(x, mean, euler_step(x, velocity, self._num_steps))

    def mean(self, features: torch.Tensor, given: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self._last_mean(given, self(features, given, torch.full((len(given),), 1.0 / self._num_steps)), noise)

    def imitation_loss(
        self, features: torch.Tensor, target: torch.Tensor, continued: Sequence[int], generator: torch.Generator
    ) -> torch.Tensor:
        features, target = features.repeat(DRAWS, 1), target.repeat(DRAWS, 1, 1)
        noise = torch.randn(target.shape, generator=generator)
        time = torch.rand(len(target), generator=generator)
        x = time[:, None, None] * noise + (1 - time[:, None, None]) * target
        return (self(features, x, time) - (noise - target)).square().mean()

    def _last_mean(self, x: torch.Tensor, velocity: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        time = torch.tensor(denoising_time(self._num_steps - 1, self._num_steps))
        return sde_moments(x, velocity, time, self._num_steps, noise)[0]


def _time_features(time: torch.Tensor) -> torch.Tensor:
    """(B,) in [0, 1] -> (B, TIME_SIZE), sines and cosines of periods from 4 down to 0.02."""
    frequencies = 2 * math.pi * torch.logspace(math.log10(0.25), math.log10(50.0), TIME_SIZE // 2)
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


CHUNK_HEADS: Mapping[str, type[ChunkHead]] = {"gaussian": GaussianHead, "flow": FlowHead}
"""By the name that `TinyVLAConfig.head` has for them."""
