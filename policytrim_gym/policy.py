"""The two interfaces that a policy offers: to be asked for chunks, and to be trained by RL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidChunk
from policytrim_gym.latency import LatencyStatistics
from policytrim_gym.spec import PolicySpec

if TYPE_CHECKING:
    import torch

Observation = Mapping[str, Any]
"""A flat mapping: `image_<camera>` uint8 HWC, `state` float32, `instruction` str."""


class ChunkPolicy(ABC):
    """A policy that predicts a chunk of actions from one observation.

    Rollout code calls `reset` before a set of episodes, then `predict_action_chunks` once for all environments that wait. A
    policy never sees time: how much of a chunk is run, and when it is asked again, is decided outside.
    """

    @property
    @abstractmethod
    def spec(self) -> PolicySpec:
        """Sizes, stock horizon and observation needs; constant for the life of the policy."""

    @property
    def latency(self) -> LatencyStatistics | None:
        """How long the answers took, of a policy behind a server; None of one that computes here."""
        return None

    def reset(self, seed: int | None = None) -> None:
        """Forgets everything about past episodes; a stochastic policy reseeds itself. Stateless policies need nothing here."""

    @abstractmethod
    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        """Returns the chunk for one observation; raises MissingObservation when the observation does not fit the spec."""

    def predict_action_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """Returns one chunk for each observation, in order; models that can should override this with one batched call."""
        return [self.predict_action_chunk(observation) for observation in observations]


class CallablePolicy(ChunkPolicy):
    """Any function observation -> (chunk_size, action_dim) array as a `ChunkPolicy`.

    Args:
        function: called with one observation.
        spec: what the function predicts and needs; its result is checked against it.

    >>> policy = CallablePolicy(lambda observation: [[0.0], [1.0]], PolicySpec(chunk_size=2, action_dim=1))
    >>> policy.predict_action_chunk({}).chunk_size
    2
    """

    def __init__(self, function: Callable[[Observation], ArrayLike], spec: PolicySpec) -> None:
        self._function = function
        self._spec = spec

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        self._spec.check_observation(observation)
        chunk = ActionChunk(np.asarray(self._function(observation)))
        expected = (self._spec.chunk_size, self._spec.action_dim)
        if chunk.actions.shape != expected:
            raise InvalidChunk(f"the policy function must return shape {expected} (chunk_size, action_dim), got {chunk.actions.shape}")
        return chunk


class ChunkSample(NamedTuple):
    """One sampled chunk and what is needed to evaluate its likelihood again.

    `trace` is opaque to the trainer: a float chunk alone does not determine the likelihood of a flow or token head.
    """

    actions: NDArray[np.float32]  # (chunk_size, action_dim)
    log_probs: NDArray[np.float32]  # (chunk_size,) one for each action, so that an executed prefix can be summed
    trace: Any


class Explorer(Protocol):
    """Who knows how widely a policy is to explore: the policy, its class, or the settings that it is built from.

    >>> TrainableChunkPolicy.exploration_start
    {}
    """

    @property
    def exploration_start(self) -> Mapping[str, float]:
        """What `set_exploration` gets at the start of each stage, where a TrimConfig does not say; empty: nothing is set."""

    @property
    def exploration_end(self) -> Mapping[str, float]:
        """The same at its end."""


class TrainableChunkPolicy(ChunkPolicy):
    """A ChunkPolicy whose weights RL can train.

    Unlike `ChunkPolicy`, which predicts its best chunk, it also samples around it and says how likely a sample is. The trainer
    calls `set_exploration` before each iteration, `sample_chunks` while it collects, `evaluate_chunks` in each gradient step.
    """

    exploration_start: Mapping[str, float] = {}
    exploration_end: Mapping[str, float] = {}
    """See `Explorer`."""

    @abstractmethod
    def sample_chunks(
        self, observations: Sequence[Observation], generator: torch.Generator | Sequence[torch.Generator]
    ) -> list[ChunkSample]:
        """Samples one chunk for each observation.

        Args:
            observations: (B,) observations.
            generator: the source of noise, one for all or one for each observation; one each makes a rollout's noise independent of
                which other rollouts happen to wait at the same time.
        """

    @abstractmethod
    def evaluate_chunks(self, observations: Sequence[Observation], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the log-probs of sampled chunks under the present weights, (B, chunk_size), with gradient, and the entropy or None."""

    @abstractmethod
    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """The weights that the optimiser may change."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All weights and buffers, for checkpoints."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""

    @abstractmethod
    def save_pretrained(self, folder: str) -> None:
        """Writes a checkpoint folder that `load_policy` can read."""

    def imitation_loss(self, observations: Sequence[Observation], actions: NDArray[np.float32], generator: torch.Generator) -> torch.Tensor:
        """Returns the loss of imitating chunks, a scalar with gradient; only policies that can be cloned need it.

        Args:
            observations: (B,) observations.
            actions: what to predict from each, (B, chunk_size, action_dim).
            generator: source of augmentation and of a flow's noise.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot imitate chunks, so it can neither be cloned nor warm-started")

    def set_exploration(self, **values: float) -> None:
        """Sets the spread of `sample_chunks`; names and meaning are the policy's own. Unknown names raise InvalidConfig."""
