"""One GRPO update: PPO's clipped objective on the actions that were executed, without a critic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from policytrim_gym.policy import ChunkSample, Observation, TrainableChunkPolicy
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.training.trim_config import TrimConfig


@dataclass(frozen=True)
class UpdateStatistics:
    """Means over the gradient steps of one update."""

    loss: float
    clip_fraction: float
    grad_norm: float
    approx_kl: float


class _Chunk(NamedTuple):
    """One chunk of a minibatch."""

    observation: Observation
    sample: ChunkSample
    weights: NDArray[np.float64]  # of its actions, 0 where they did not run, (H,)
    advantage: float  # of its rollout


def clipped_objective(
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor,
    advantages: torch.Tensor,
    weights: torch.Tensor,
    config: TrimConfig,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the loss -sum w min(r A, clip(r) A) and the weight of what was clipped; both are sums over chunks.

    With ratio "action", r is each executed action's own likelihood ratio; with "chunk" it is that of the whole executed prefix, which
    for 32 actions leaves the clip range after a fraction of the same change.

    Args:
        log_probs: under the present weights, (B, H).
        old_log_probs: when sampled, (B, H).
        advantages: of the rollout that each chunk belongs to, (B,).
        weights: of each action; 0 where it was not executed, (B, H).
        config: clip range and kind of ratio.
    """
    difference = log_probs - old_log_probs
    if config.ratio == "chunk":
        difference = ((weights > 0) * difference).sum(dim=1, keepdim=True).expand_as(weights)
    ratio = torch.exp(difference)
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    gain = torch.minimum(ratio * advantages[:, None], clipped * advantages[:, None])
    was_clipped = (ratio * advantages[:, None] > gain).float()
    return -(weights * gain).sum(), (weights * was_clipped).sum().detach()


class GRPOUpdater:
    """Adam on the policy's weights.

    Args:
        policy: who is trained.
        config: learning rate, clip, epochs, minibatches, and how much of one is held in memory at once.
    """

    def __init__(self, policy: TrainableChunkPolicy, config: TrimConfig) -> None:
        self._policy = policy
        self._config = config
        self._parameters = list(policy.parameters())
        self.optimizer = torch.optim.Adam(self._parameters, lr=config.learning_rate)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets Adam's learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def update(self, rollouts: Sequence[Rollout], advantages: NDArray[np.float64], seed: int) -> UpdateStatistics | None:
        """Takes num_epochs x num_minibatches gradient steps; None when no rollout carries a signal.

        Every rollout has the same total weight, however many actions it ran: 1 / (its executed steps) for each.

        Args:
            rollouts: with observations and samples.
            advantages: one for each rollout.
            seed: of the minibatches.
        """
        useful = [(rollout, float(advantage)) for rollout, advantage in zip(rollouts, advantages) if advantage != 0.0]
        if not useful:
            return None
        random = np.random.default_rng(seed)
        statistics = []
        for _ in range(self._config.num_epochs):
            order = random.permutation(len(useful))
            for part in np.array_split(order, min(self._config.num_minibatches, len(useful))):
                statistics.append(self._step([useful[index] for index in part]))
        return UpdateStatistics(*np.mean(statistics, axis=0).tolist())

    def _step(self, batch: Sequence[tuple[Rollout, float]]) -> tuple[float, float, float, float]:
        """Takes one gradient step on a minibatch and returns what UpdateStatistics holds.

        All that is summed over its blocks has the weights of the whole minibatch, which add up to 1, so the blocks change nothing.
        """
        chunks = _chunks(batch, self._policy.spec.chunk_size)
        self.optimizer.zero_grad(set_to_none=True)
        size = self._config.max_chunks_per_pass or len(chunks)
        parts = [self._accumulate(chunks[start : start + size]) for start in range(0, len(chunks), size)]
        loss, clip_fraction, approx_kl = np.sum(parts, axis=0).tolist()
        grad_norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
        self.optimizer.step()
        return loss, clip_fraction, float(grad_norm), approx_kl

    def _accumulate(self, chunks: Sequence[_Chunk]) -> tuple[float, float, float]:
        """Adds the gradient of some chunks and returns their parts of loss, clip fraction and divergence."""
        weight = torch.as_tensor(np.array([chunk.weights for chunk in chunks]), dtype=torch.float32)
        advantages = torch.tensor([chunk.advantage for chunk in chunks])
        old_log_probs = torch.from_numpy(np.stack([chunk.sample.log_probs for chunk in chunks]))
        log_probs, _ = self._policy.evaluate_chunks([chunk.observation for chunk in chunks], [chunk.sample.trace for chunk in chunks])
        loss, clipped = clipped_objective(log_probs, old_log_probs, advantages, weight, self._config)
        loss.backward()
        approx_kl = (weight * (old_log_probs - log_probs.detach())).sum()
        return float(loss.detach()), float(clipped), float(approx_kl)


def _chunks(batch: Sequence[tuple[Rollout, float]], chunk_size: int) -> list[_Chunk]:
    """Returns the chunks of a minibatch; the weights of all their actions add up to 1."""
    return [
        _Chunk(observation, window.record, (np.arange(chunk_size) < executed_steps) / (rollout.steps * len(batch)), advantage)
        for rollout, advantage in batch
        for observation, window, executed_steps in zip(rollout.observations, rollout.windows, rollout.executed_steps)
    ]
