"""A model behind an observation map, as a policy of the environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidSpec
from policytrim_gym.latency import LatencyStatistics
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.observation_map import ObservationMap
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.spec import PolicySpec


class MappedPolicy(ChunkPolicy):
    """A policy that is asked in the environment's words and asks its model in the model's.

    Where the map leaves the execute horizon or the time between actions open, the model's own hold.

    Args:
        policy: the model; it is shown what `observation_map.observation` returns.
        observation_map: between environment and model.

    Raises:
        InvalidSpec: the model's chunks have another size than the map says; the message names both.

    >>> from policytrim_gym.policies.observation_map import ModelInput
    >>> from policytrim_gym.policy import CallablePolicy
    >>> model = CallablePolicy(lambda observation: [observation["state"]] * 2, PolicySpec(chunk_size=2, action_dim=3))
    >>> padded = ModelInput(source="joints", shape=(2,), transforms=({"pad_to": {"size": 3}},))
    >>> policy = MappedPolicy(model, ObservationMap(2, 3, {"state": padded}, outputs=({"take": {"count": 2}},)))
    >>> policy.spec.action_dim, policy.predict_action_chunk({"joints": [0.5, 1.0]}).actions.tolist()
    (2, [[0.5, 1.0], [0.5, 1.0]])
    """

    def __init__(self, policy: ChunkPolicy, observation_map: ObservationMap) -> None:
        mine, theirs = observation_map.model_spec, policy.spec
        if (mine.chunk_size, mine.action_dim) != (theirs.chunk_size, theirs.action_dim):
            raise InvalidSpec(
                f"{observation_map.title} is for a model with chunks of {mine.chunk_size} x {mine.action_dim} "
                f"(chunk_size x action_dim), this one predicts {theirs.chunk_size} x {theirs.action_dim}: correct the copy of the map"
            )
        self.policy = policy
        self.observation_map = observation_map
        env_spec = observation_map.env_spec
        self._spec = replace(
            env_spec,
            execute_horizon=theirs.horizon if observation_map.execute_horizon is None else env_spec.horizon,
            control_dt_s=theirs.control_dt_s if env_spec.control_dt_s is None else env_spec.control_dt_s,
        )

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    @property
    def latency(self) -> LatencyStatistics | None:
        return self.policy.latency

    def reset(self, seed: int | None = None) -> None:
        self.policy.reset(seed)

    def predict_action_chunk(self, observation: Observation) -> ActionChunk:
        chunk = self.policy.predict_action_chunk(self.observation_map.observation(observation))
        return ActionChunk(self.observation_map.actions(chunk.actions, observation))

    def predict_action_chunks(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """Returns one chunk for each observation, by one batched call of the model."""
        chunks = self.policy.predict_action_chunks([self.observation_map.observation(observation) for observation in observations])
        return [ActionChunk(self.observation_map.actions(chunk.actions, observation)) for chunk, observation in zip(chunks, observations)]


def load_mapped_policy(uri: str, observation_map: str = "", inference_timeout_s: float | None = None) -> ChunkPolicy:
    """Loads a policy as `load_policy`, behind an observation map where one is named.

    Args:
        uri: checkpoint folder, ws://host:port or python:module:factory.
        observation_map: name or path of one; empty: none.
        inference_timeout_s: of one answer of a server [s]; None: what `load_policy` allows.

    Raises:
        InvalidSpec: see `MappedPolicy`.
        MissingFile, InvalidConfig: no such map, or a wrong one.
        PolicyTrimError: what `load_policy` raises.
    """
    if not observation_map:
        return load_policy(uri, inference_timeout_s=inference_timeout_s)
    mapping = ObservationMap.load(observation_map)
    return MappedPolicy(load_policy(uri, mapping.model_spec, inference_timeout_s), mapping)
