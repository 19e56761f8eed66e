"""The small policy on state observations: an MLP from state and instruction to a chunk, with a Gaussian head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.gaussian_head import GaussianExploration, gaussian_log_prob, sample_gaussian
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.policy import ChunkSample, Observation, TrainableChunkPolicy
from policytrim_gym.spec import PolicySpec

INSTRUCTION_LENGTH = 16
BATCH_BLOCK = 8
"""Rows of one forward pass at prediction. Every pass has the same shape, so that a row's result does not depend on which other
environments happen to wait, and an evaluation gives the same episodes however many workers it has."""

STATE_NOISE = 0.02
"""Noise on the normalised state when imitating, which keeps a clone near its demonstrations."""


@dataclass(frozen=True)
class StatePolicyConfig:
    """Architecture of a `StatePolicy`.

    Args:
        state_size: numbers in `observation["state"]`.
        action_dim: numbers in one action.
        chunk_size: H.
        execute_horizon: stock or proven horizon.
        action_kinds: "delta" or "position" for each dimension.
        control_dt_s: seconds between two actions, or None.
        hidden_size, num_layers: of the MLP.
        instruction_size: of the instruction's embedding.

    Raises:
        InvalidConfig: a size that is not an integer of at least 1.
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

    def __post_init__(self) -> None:
        for name in ("state_size", "action_dim", "chunk_size", "execute_horizon", "hidden_size", "num_layers", "instruction_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidConfig(f"{name} must be an integer of at least 1, got {value!r}")

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

    actions: torch.Tensor  # (H, A), before the environment's clip
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
        """(B, state_size) and (B, INSTRUCTION_LENGTH) -> mean chunk (B, H, A)."""
        normalised = ((state - self.state_mean) / self.state_std).clamp(-5.0, 5.0)
        features = self.body(torch.cat([normalised, self.words(tokens)], dim=-1))
        return self.head(features).view(-1, *self._chunk_shape)


class StatePolicy(TrainableChunkPolicy):
    """Predicts a chunk from `observation["state"]` and `observation["instruction"]`.

    `predict_action_chunks` gives the mean chunk; `sample_chunks` spreads around it as `GaussianExploration` says.

    Args:
        config: the architecture.
        tokenizer: the instruction's vocabulary.
        seed: of the initial weights.
    """

    model_type = "policytrim_state"

    def __init__(self, config: StatePolicyConfig, tokenizer: WordTokenizer, seed: int = 0) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.exploration = GaussianExploration()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = _ChunkMLP(config, tokenizer.vocabulary_size)
        kinds = config.action_kinds or ("position",) * config.action_dim
        self._is_motion = torch.tensor([float(kind == "delta") for kind in kinds])
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

    def set_exploration(self, **values: float) -> None:
        try:
            self.exploration = GaussianExploration(**values)
        except TypeError as error:
            raise InvalidConfig(f"exploration of this policy has action_std and gain_std, got {sorted(values)}") from error

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        return self.predict_action_chunks([observation])[0]

    def predict_action_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        return [ActionChunk(chunk) for chunk in self._mean_in_blocks(observations).numpy()]

    def sample_chunks(
        self, observations: Sequence[Observation], generator: torch.Generator | Sequence[torch.Generator]
    ) -> list[ChunkSample]:
        mean = self._mean_in_blocks(observations)
        generators = [generator] * len(mean) if isinstance(generator, torch.Generator) else generator
        samples, spread = sample_gaussian(mean, self._is_motion, self.exploration, generators)
        log_probs = gaussian_log_prob(samples, mean, spread)
        return [
            ChunkSample(actions.numpy(), log_prob.numpy(), GaussianTrace(actions, std))
            for actions, log_prob, std in zip(samples, log_probs, spread)
        ]

    def evaluate_chunks(self, observations: Sequence[Observation], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean = self.network(*self.encode(observations))
        samples = torch.stack([trace.actions for trace in traces])
        spread = torch.stack([trace.spread for trace in traces])
        return gaussian_log_prob(samples, mean, spread), None  # the spread is fixed, so the entropy is constant

    def imitation_loss(self, observations: Sequence[Observation], actions: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        # L1 instead of L2: the pace of a demonstration is not in the state, and the mean of a fast and a pausing one fits neither.
        state, tokens = self.encode(observations)
        noise = torch.randn(state.shape, generator=generator) * self.network.state_std * STATE_NOISE
        return nn.functional.l1_loss(self.network(state + noise, tokens), torch.from_numpy(actions))

    def encode(self, observations: Sequence[Observation]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the network's inputs: state (B, state_size) float32 and tokens (B, INSTRUCTION_LENGTH) int64."""
        for observation in observations:
            self._spec.check_observation(observation)
        state = torch.from_numpy(np.stack([np.asarray(observation["state"], dtype=np.float32) for observation in observations]))
        return state, torch.tensor([self._tokenize(observation["instruction"]) for observation in observations])

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.network.parameters()

    def state_dict(self) -> dict[str, Any]:
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state)

    def save_pretrained(self, folder: str) -> None:
        from policytrim_gym.policies.state_checkpoint import save_state_policy

        save_state_policy(self, folder)

    def _tokenize(self, instruction: str) -> list[int]:
        if instruction not in self._tokens:
            self._tokens[instruction] = self.tokenizer.encode(instruction, INSTRUCTION_LENGTH)
        return self._tokens[instruction]

    @torch.no_grad()
    def _mean_in_blocks(self, observations: Sequence[Observation]) -> torch.Tensor:
        """Returns mean chunks (B, H, A) from forward passes of exactly BATCH_BLOCK rows."""
        state, tokens = self.encode(observations)
        padding = -len(state) % BATCH_BLOCK
        state = torch.cat([state, state[:1].expand(padding, -1)])
        tokens = torch.cat([tokens, tokens[:1].expand(padding, -1)])
        blocks = [self.network(*block) for block in zip(state.split(BATCH_BLOCK), tokens.split(BATCH_BLOCK))]
        return torch.cat(blocks)[: len(observations)]
