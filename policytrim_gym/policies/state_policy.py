"""The small policy on state observations: an MLP from state and instruction to a chunk, with a Gaussian head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.policies.action_increments import ActionIncrements, is_motion
from policytrim_gym.policies.gaussian_head import GaussianExploration, gaussian_log_prob, sample_gaussian
from policytrim_gym.policies.increment_loss import increment_loss
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.policy import ChunkSample, Observation, TrainableChunkPolicy
from policytrim_gym.spec import PolicySpec

INSTRUCTION_LENGTH = 16
BATCH_BLOCK = 8
"""Rows of one forward pass at prediction. Every pass has the same shape, so that a row's result does not depend on which other
environments happen to wait, and an evaluation gives the same episodes however many workers it has."""

STATE_NOISE = 0.02
"""Noise on the normalised state when imitating, which keeps a clone near its demonstrations."""

_SCALE = "action_scale"
"""Entry of the weights; left out where actions are their own increments, as in every checkpoint from before there was a scale."""


@dataclass(frozen=True)
class StatePolicyConfig:
    """Architecture of a `StatePolicy`.

    Args:
        state_size: numbers in `observation["state"]`.
        action_dim: numbers in one action.
        chunk_size: H.
        execute_horizon: stock or proven horizon.
        action_kinds: "delta" or "position" for each dimension.
        action_origins: for each dimension the index in `observation["state"]` of the number that the action continues, such as the
            measured joint position, or None: see `ActionIncrements`. None is no origin at all.
        control_dt_s: seconds between two actions, or None.
        hidden_size, num_layers: of the MLP.
        instruction_size: of the instruction's embedding.

    Raises:
        InvalidConfig: a size that is not an integer of at least 1, or origins that are not numbers of the state or not positions.
    """

    state_size: int
    action_dim: int
    chunk_size: int = 32
    execute_horizon: int = 8
    action_kinds: tuple[str, ...] | None = None
    control_dt_s: float | None = None
    hidden_size: int = 512
    num_layers: int = 3
    instruction_size: int = 32
    action_origins: tuple[int | None, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("state_size", "action_dim", "chunk_size", "execute_horizon", "hidden_size", "num_layers", "instruction_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidConfig(f"{name} must be an integer of at least 1, got {value!r}")
        if self.action_origins is not None:
            object.__setattr__(self, "action_origins", self._checked_origins(tuple(self.action_origins)))

    @property
    def origins(self) -> tuple[int | None, ...]:
        """The action origins, spelled out for each dimension, (action_dim,)."""
        return (None,) * self.action_dim if self.action_origins is None else self.action_origins

    def _checked_origins(self, origins: tuple[Any, ...]) -> tuple[int | None, ...]:
        in_state = all(
            origin is None or (isinstance(origin, (int, np.integer)) and not isinstance(origin, bool) and 0 <= origin < self.state_size)
            for origin in origins
        )
        if len(origins) != self.action_dim or not in_state:
            raise InvalidConfig(
                f"action_origins must be {self.action_dim} indices in 0..{self.state_size - 1} (state_size) or None, got {origins}"
            )
        for kind, origin in zip(self.action_kinds or (), origins):
            if kind == "delta" and origin is not None:
                raise InvalidConfig(f'action_origins must be None where action_kinds is "delta", got {origins} with {self.action_kinds}')
        return tuple(None if origin is None else int(origin) for origin in origins)

    def to_spec(self) -> PolicySpec:
        """Returns the PolicySpec of such a policy."""
        return PolicySpec(
            chunk_size=self.chunk_size,
            action_dim=self.action_dim,
            execute_horizon=self.execute_horizon,
            control_dt_s=self.control_dt_s,
            observation_shapes={"state": (self.state_size,)},
            needs_instruction=True,
            action_kinds=self.action_kinds,
        )


class GaussianTrace(NamedTuple):
    """What was sampled, for its likelihood under other weights."""

    increments: torch.Tensor  # (H, A), normalised, before they are made actions
    spread: torch.Tensor  # (H, A), marginal standard deviation


class _ChunkMLP(nn.Module):
    """The network; its buffers hold the normalisation, so that they are saved with the weights."""

    state_mean: torch.Tensor
    state_std: torch.Tensor

    def __init__(self, config: StatePolicyConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.register_buffer("state_mean", torch.zeros(config.state_size))
        self.register_buffer("state_std", torch.ones(config.state_size))
        self.words = nn.EmbeddingBag(vocabulary_size, config.instruction_size, mode="mean", padding_idx=0)
        sizes = [config.state_size + config.instruction_size] + [config.hidden_size] * config.num_layers
        layers: list[nn.Module] = []
        for size_in, size_out in zip(sizes, sizes[1:]):
            layers += [nn.Linear(size_in, size_out), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(config.hidden_size, config.chunk_size * config.action_dim)
        self._chunk_shape = (config.chunk_size, config.action_dim)

    def forward(self, state: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(B, state_size) and (B, INSTRUCTION_LENGTH) -> mean chunk of normalised increments (B, H, A)."""
        normalised = ((state - self.state_mean) / self.state_std).clamp(-5.0, 5.0)
        features = self.body(torch.cat([normalised, self.words(tokens)], dim=-1))
        return self.head(features).view(-1, *self._chunk_shape)


class StatePolicy(TrainableChunkPolicy):
    """Predicts a chunk from `observation["state"]` and `observation["instruction"]`.

    `predict_action_chunks` gives the mean chunk; `sample_chunks` spreads around it as `GaussianExploration` says. The network, its
    exploration and its imitation work on normalised increments (see `ActionIncrements`). By default those are the actions.

    Args:
        config: the architecture.
        tokenizer: the instruction's vocabulary.
        seed: of the initial weights.

    >>> config = StatePolicyConfig(state_size=3, action_dim=1, chunk_size=4, execute_horizon=2, action_origins=(2,))
    >>> policy = StatePolicy(config, WordTokenizer(["lift"]))
    >>> policy.set_action_scale([1e-6])  # [rad]; so small that the arm stays at its last target
    >>> policy.predict_action_chunk({"state": [0.0, 0.0, 0.5], "instruction": "lift"}).actions.round(3).ravel()
    array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """

    model_type = "policytrim_state"
    exploration_start = {"action_std": 0.12, "gain_std": 0.15}
    exploration_end = {"action_std": 0.08, "gain_std": 0.03}

    def __init__(self, config: StatePolicyConfig, tokenizer: WordTokenizer, seed: int = 0) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.exploration = GaussianExploration()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = _ChunkMLP(config, tokenizer.vocabulary_size)
        self._increments = ActionIncrements(config.origins)
        self._is_motion = torch.from_numpy(is_motion(config.action_kinds, config.origins).astype(np.float32))
        self._spec = config.to_spec()
        self._tokens: dict[str, list[int]] = {}

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def set_execute_horizon(self, execute_horizon: int) -> None:
        """Makes `execute_horizon` the one that the spec and the checkpoint name."""
        self._spec = self._spec.with_horizon(execute_horizon)

    def set_normalisation(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Sets mean and standard deviation of the state, (state_size,) each."""
        self.network.state_mean.copy_(torch.as_tensor(mean, dtype=torch.float32))
        self.network.state_std.copy_(torch.as_tensor(std, dtype=torch.float32))

    @property
    def increments(self) -> ActionIncrements:
        """What the network's numbers mean as actions."""
        return self._increments

    def set_action_scale(self, scale: ArrayLike) -> None:
        """Sets the size of one normalised unit, (action_dim,) above 0 [action units]; the weights are left as they are."""
        self._increments = ActionIncrements(self.config.origins, scale)

    def set_exploration(self, **values: float) -> None:
        try:
            self.exploration = GaussianExploration(**values)
        except TypeError as error:
            raise InvalidConfig(f"exploration of this policy has action_std and gain_std, got {sorted(values)}") from error

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        return self.predict_action_chunks([observation])[0]

    def predict_action_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        state, tokens = self.encode(observations)
        actions = self._increments.to_actions(self._mean_in_blocks(state, tokens), state)
        return [ActionChunk(chunk) for chunk in actions.numpy()]

    def sample_chunks(
        self, observations: Sequence[Observation], generator: torch.Generator | Sequence[torch.Generator]
    ) -> list[ChunkSample]:
        state, tokens = self.encode(observations)
        mean = self._mean_in_blocks(state, tokens)
        generators = [generator] * len(mean) if isinstance(generator, torch.Generator) else generator
        samples, spread = sample_gaussian(mean, self._is_motion, self.exploration, generators)
        log_probs = gaussian_log_prob(samples, mean, spread)
        actions = self._increments.to_actions(samples, state)
        return [
            ChunkSample(chunk.numpy(), log_prob.numpy(), GaussianTrace(sample, std))
            for chunk, log_prob, sample, std in zip(actions, log_probs, samples, spread)
        ]

    def evaluate_chunks(self, observations: Sequence[Observation], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean = self.network(*self.encode(observations))
        samples = torch.stack([trace.increments for trace in traces])
        spread = torch.stack([trace.spread for trace in traces])
        return gaussian_log_prob(samples, mean, spread), None  # the spread is fixed, so the entropy is constant

    def imitation_loss(self, observations: Sequence[Observation], actions: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        state, tokens = self.encode(observations)
        noise = torch.randn(state.shape, generator=generator) * self.network.state_std * STATE_NOISE
        errors = self.network(state + noise, tokens) - self._increments.from_actions(torch.from_numpy(actions), state)
        return increment_loss(errors, self._increments.continued)

    def encode(self, observations: Sequence[Observation]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the network's inputs: state (B, state_size) float32 and tokens (B, INSTRUCTION_LENGTH) int64."""
        for observation in observations:
            self._spec.check_observation(observation)
        state = torch.from_numpy(np.stack([np.asarray(observation["state"], dtype=np.float32) for observation in observations]))
        return state, torch.tensor([self._tokenize(observation["instruction"]) for observation in observations])

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        weights = self.network.state_dict()
        return weights if self._increments.is_identity else {**weights, _SCALE: self._increments.scale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        weights = dict(state)
        scale = weights.pop(_SCALE, None)
        if scale is None and self.config.action_origins is not None:
            raise InvalidSpec(f"the weights of a policy with action_origins must hold {_SCALE}, got {sorted(weights)}")
        self.network.load_state_dict(weights)
        self._increments = ActionIncrements(self.config.origins, scale)

    def save_pretrained(self, folder: str) -> None:
        from policytrim_gym.policies.state_checkpoint import save_state_policy

        save_state_policy(self, folder)

    def _tokenize(self, instruction: str) -> list[int]:
        if instruction not in self._tokens:
            self._tokens[instruction] = self.tokenizer.encode(instruction, INSTRUCTION_LENGTH)
        return self._tokens[instruction]

    @torch.no_grad()
    def _mean_in_blocks(self, state: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Returns the network's mean chunks (B, H, A) from forward passes of exactly BATCH_BLOCK rows."""
        num_rows = len(state)
        padding = -num_rows % BATCH_BLOCK
        state = torch.cat([state, state[:1].expand(padding, -1)])
        tokens = torch.cat([tokens, tokens[:1].expand(padding, -1)])
        blocks = [self.network(*block) for block in zip(state.split(BATCH_BLOCK), tokens.split(BATCH_BLOCK))]
        return torch.cat(blocks)[:num_rows]
