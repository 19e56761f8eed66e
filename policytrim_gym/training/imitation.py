"""Regression of a chunked policy on chunks of actions that somebody ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from policytrim_gym.policy import Observation, TrainableChunkPolicy


def chunk_targets(actions: NDArray[np.float32], chunk_size: int) -> NDArray[np.float32]:
    """Returns the chunk that follows each step, with the last action repeated past the end.

    Args:
        actions: of one episode, (S, action_dim).
        chunk_size: H.

    Returns:
        (S, H, action_dim).

    >>> chunk_targets(np.array([[1.0], [2.0], [3.0]]), chunk_size=2)[..., 0]
    array([[1., 2.],
           [2., 3.],
           [3., 3.]])
    """
    index = np.arange(len(actions))[:, None] + np.arange(chunk_size)[None]
    return actions[np.minimum(index, len(actions) - 1)]


def imitate(
    policy: TrainableChunkPolicy,
    observations: Sequence[Observation],
    targets: NDArray[np.float32],
    gradient_steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Minimises the policy's imitation loss with AdamW and a learning rate that falls to 0 along a cosine.

    Args:
        policy: who learns.
        observations: (N,) observations.
        targets: the chunk to predict from each, (N, chunk_size, action_dim).
        gradient_steps, batch_size, learning_rate, seed: of the optimisation.
        on_step: called with each gradient step and its loss.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, gradient_steps)
    for step in range(gradient_steps):
        batch = torch.randint(len(observations), (batch_size,), generator=generator).tolist()
        loss = policy.imitation_loss([observations[index] for index in batch], targets[batch], generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step, float(loss.detach()))
