"""The contract holds for honest policies, and each of its tests catches the policy that breaks it."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.policy import CallablePolicy, ChunkPolicy, ChunkSample, TrainableChunkPolicy
from policytrim_gym.spec import PolicySpec
from policytrim_gym.testing import ChunkPolicyContract

SPEC = PolicySpec(chunk_size=3, action_dim=2, observation_shapes={"state": (4,)}, needs_instruction=True)


def observation(index: int) -> dict[str, Any]:
    return {"state": np.linspace(0, index, 4, dtype=np.float32), "instruction": "go"}


class LinearGaussianPolicy(TrainableChunkPolicy):
    """The smallest honest trainable policy: mean = W state + b, one std for all."""

    def __init__(self) -> None:
        self.layer = torch.nn.Linear(4, 6)
        torch.nn.init.constant_(self.layer.weight, 0.1)
        torch.nn.init.constant_(self.layer.bias, 0.2)

    @property
    def spec(self) -> PolicySpec:
        return SPEC

    def _means(self, observations: Sequence[Any]) -> torch.Tensor:
        for one in observations:
            SPEC.check_observation(one)
        return self.layer(torch.tensor(np.stack([one["state"] for one in observations]))).reshape(-1, 3, 2)

    def predict_action_chunk(self, observation: Any) -> ActionChunk:
        return ActionChunk(self._means([observation])[0].detach().numpy())

    def _distribution(self, observations: Sequence[Any]) -> torch.distributions.Normal:
        return torch.distributions.Normal(self._means(observations), 0.3)

    def sample_chunks(self, observations: Sequence[Any], generator: Any) -> list[ChunkSample]:
        with torch.no_grad():
            normal = self._distribution(observations)
            actions = normal.mean + normal.stddev * torch.randn(normal.mean.shape, generator=generator)
            log_probs = normal.log_prob(actions).sum(-1)
        return [ChunkSample(a.numpy(), p.numpy(), a) for a, p in zip(actions, log_probs)]

    def evaluate_chunks(self, observations: Sequence[Any], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        normal = self._distribution(observations)
        return normal.log_prob(torch.stack(list(traces))).sum(-1), normal.entropy().sum(-1)

    def parameters(self) -> Any:
        return list(self.layer.parameters())

    def state_dict(self) -> dict[str, Any]:
        return self.layer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.layer.load_state_dict(state)

    def save_pretrained(self, folder: str) -> None:
        raise NotImplementedError


class TestTrainableContract(ChunkPolicyContract):
    def make_policy(self) -> ChunkPolicy:
        return LinearGaussianPolicy()

    def make_observation(self, index: int) -> dict[str, Any]:
        return observation(index)


class TestCallableContract(ChunkPolicyContract):
    def make_policy(self) -> ChunkPolicy:
        return CallablePolicy(lambda one: np.outer([1, 2, 3], one["state"][:2]), SPEC)

    def make_observation(self, index: int) -> dict[str, Any]:
        return observation(index)


class Unseeded(LinearGaussianPolicy):
    def predict_action_chunk(self, observation: Any) -> ActionChunk:
        return ActionChunk(super().predict_action_chunk(observation).actions + np.random.default_rng().normal())


class WrongShape(LinearGaussianPolicy):
    def predict_action_chunk(self, observation: Any) -> ActionChunk:
        return ActionChunk(super().predict_action_chunk(observation).actions[:2])


class BatchReversed(LinearGaussianPolicy):
    def predict_action_chunks(self, observations: Sequence[Any]) -> list[ActionChunk]:
        return super().predict_action_chunks(observations)[::-1]


class UncheckedObservation(LinearGaussianPolicy):
    def _means(self, observations: Sequence[Any]) -> torch.Tensor:
        return self.layer(torch.tensor(np.stack([one["state"] for one in observations]))).reshape(-1, 3, 2)


class ChangingSpec(LinearGaussianPolicy):
    horizon = 3

    @property
    def spec(self) -> PolicySpec:
        return SPEC.with_horizon(self.horizon)

    def reset(self, seed: int | None = None) -> None:
        self.horizon = 2


class ChangesObservation(LinearGaussianPolicy):
    def predict_action_chunk(self, observation: Any) -> ActionChunk:
        observation["state"] += 1
        return super().predict_action_chunk(observation)


class WrongLikelihood(LinearGaussianPolicy):
    def evaluate_chunks(self, observations: Sequence[Any], traces: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        log_probs, entropy = super().evaluate_chunks(observations, traces)
        return log_probs + 0.01, entropy


class OwnNoise(LinearGaussianPolicy):
    def sample_chunks(self, observations: Sequence[Any], generator: Any) -> list[ChunkSample]:
        return super().sample_chunks(observations, None)


class Detached(LinearGaussianPolicy):
    def _means(self, observations: Sequence[Any]) -> torch.Tensor:
        means = super()._means(observations)
        return means.detach().requires_grad_()


class ForgetsBias(LinearGaussianPolicy):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.layer.load_state_dict({"weight": state["weight"]}, strict=False)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Unseeded, "test_same_seed_gives_the_same_chunks"),
        (WrongShape, "test_chunk_has_the_shape_of_the_spec"),
        (BatchReversed, "test_batched_equals_single"),
        (UncheckedObservation, "test_a_missing_key_raises_missing_observation"),
        (ChangingSpec, "test_spec_is_constant"),
        (ChangesObservation, "test_observations_are_not_changed"),
        (WrongLikelihood, "test_recomputed_log_probs_equal_the_sampled_ones"),
        (OwnNoise, "test_same_generator_gives_the_same_samples"),
        (Detached, "test_gradient_flows_from_the_log_probs_to_the_weights"),
        (ForgetsBias, "test_state_dict_round_trip_restores_the_policy"),
    ],
)
def test_each_law_catches_who_breaks_it(broken: Callable[[], ChunkPolicy], test: str) -> None:
    class Broken(ChunkPolicyContract):
        def make_policy(self) -> ChunkPolicy:
            return broken()

        def make_observation(self, index: int) -> dict[str, Any]:
            return observation(index)

    with pytest.raises((AssertionError, KeyError)):
        getattr(Broken(), test)()


def test_every_law_has_a_policy_that_breaks_it() -> None:
    laws = {name for name in vars(ChunkPolicyContract) if name.startswith("test_")}
    (mark,) = (mark for mark in test_each_law_catches_who_breaks_it.pytestmark if mark.name == "parametrize")
    assert laws == {test for _, test in mark.args[1]}


def test_likelihood_laws_skip_for_policies_that_cannot_be_trained() -> None:
    with pytest.raises(unittest.SkipTest, match="CallablePolicy"):
        TestCallableContract().test_state_dict_round_trip_restores_the_policy()
