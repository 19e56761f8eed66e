"""Behaviour cloning of a chunked policy from scripted demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.state_policy import INSTRUCTION_LENGTH, StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.training.demonstrations import Demonstration, DemonstrationSet


@dataclass(frozen=True)
class CloneConfig:
    """How a base policy is cloned.

    Args:
        demonstrator: how the scripted expert moves: "slow-uneven" or "full-speed".
        demos_per_task: successful demonstrations of each task.
        chunk_size: H, actions of one prediction.
        execute_horizon: stock horizon, written into the checkpoint.
        hidden_size, num_layers: of the MLP.
        gradient_steps: of Adam.
        batch_size: samples in each.
        learning_rate: at the start; falls to 0 along a cosine.
        state_noise: standard deviation of noise on the normalised state, which keeps a clone near its demonstrations.
        seed: of demonstrations, weights and batches.
    """

    demonstrator: str = "slow-uneven"
    demos_per_task: int = 25
    chunk_size: int = 32
    execute_horizon: int = 8
    hidden_size: int = 512
    num_layers: int = 3
    gradient_steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    state_noise: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("demos_per_task", "chunk_size", "execute_horizon", "hidden_size", "num_layers", "gradient_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise InvalidConfig(f"learning_rate must be above 0, got {self.learning_rate}")
        if not self.state_noise >= 0:
            raise InvalidConfig(f"state_noise must be at least 0, got {self.state_noise}")


def chunk_targets(actions: NDArray[np.float32], chunk_size: int) -> NDArray[np.float32]:
    """Returns the chunk that follows each step, with the last action repeated past the end.

    Args:
        actions: of one demonstration, (S, action_dim).
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


def clone(
    demos: DemonstrationSet,
    config: CloneConfig,
    action_kinds: tuple[str, ...] | None = None,
    control_dt_s: float | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> StatePolicy:
    """Trains a StatePolicy by regression on chunks of the demonstrations.

    Args:
        demos: what to imitate.
        config: architecture and optimisation.
        action_kinds, control_dt_s: of the environment, kept in the policy's spec.
        on_step: called with the gradient step and its loss.
    """
    episodes = demos.demonstrations
    first = episodes[0]
    tokenizer = WordTokenizer.from_texts(episode.instruction for episode in episodes)
    architecture = StatePolicyConfig(
        state_size=first.states.shape[1],
        action_dim=first.actions.shape[1],
        chunk_size=config.chunk_size,
        execute_horizon=config.execute_horizon,
        action_kinds=action_kinds,
        control_dt_s=control_dt_s,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
    )
    policy = StatePolicy(architecture, tokenizer, seed=config.seed)
    states, tokens, targets = _stack(episodes, tokenizer, config.chunk_size)
    mean, std = states.mean(dim=0), states.std(dim=0)
    # A number that hardly varies in the demonstrations would be blown up by its own noise in closed loop.
    policy.set_normalisation(mean.numpy(), std.clamp(min=0.01).numpy())
    _regress(policy, (states, tokens, targets), config, on_step)
    return policy


def _stack(
    episodes: tuple[Demonstration, ...], tokenizer: WordTokenizer, chunk_size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    states = np.concatenate([episode.states for episode in episodes])
    targets = np.concatenate([chunk_targets(episode.actions, chunk_size) for episode in episodes])
    tokens = [[tokenizer.encode(episode.instruction, INSTRUCTION_LENGTH)] * len(episode.states) for episode in episodes]
    return torch.from_numpy(states), torch.tensor(sum(tokens, [])), torch.from_numpy(targets)


def _regress(
    policy: StatePolicy,
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    config: CloneConfig,
    on_step: Callable[[int, float], None] | None,
) -> None:
    states, tokens, targets = data
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.gradient_steps)
    noise_scale = policy.network.state_std * config.state_noise
    for step in range(config.gradient_steps):
        batch = torch.randint(len(states), (config.batch_size,), generator=generator)
        noise = torch.randn(config.batch_size, states.shape[1], generator=generator) * noise_scale
        loss = torch.nn.functional.l1_loss(policy.network(states[batch] + noise, tokens[batch]), targets[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step, float(loss.detach()))
