"""Conformance tests that come with the interfaces; users subclass them for their own policy."""

from __future__ import annotations

import copy
import unittest
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from policytrim_gym.errors import MissingObservation
from policytrim_gym.policy import ChunkPolicy, Observation, TrainableChunkPolicy

if TYPE_CHECKING:
    import torch


class ChunkPolicyContract(ABC):
    """What rollout code and trainers rely on, as tests; a subclass whose name starts with `Test` is collected by pytest.

    The tests on likelihoods run for a `TrainableChunkPolicy` and skip otherwise.

    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.spec import PolicySpec
    >>> class TestMyPolicy(ChunkPolicyContract):
    ...     def make_policy(self):
    ...         spec = PolicySpec(chunk_size=2, action_dim=1, observation_shapes={"state": (3,)})
    ...         return CallablePolicy(lambda observation: [observation["state"][:1]] * 2, spec)
    ...     def make_observation(self, index):
    ...         return {"state": [0.1 * index, 0.0, 1.0]}
    >>> TestMyPolicy().test_batched_equals_single()
    """

    batch_tolerance = 1e-5
    """Largest difference between a batched and a single prediction; batched matrix products round differently."""
    log_prob_tolerance = 1e-4
    """Largest difference between a sampled and a recomputed log-prob, absolute and relative."""

    @abstractmethod
    def make_policy(self) -> ChunkPolicy:
        """Returns a fresh policy; two calls give equal weights."""

    @abstractmethod
    def make_observation(self, index: int) -> Observation:
        """Returns an observation that the policy accepts; a different one for each of 0, 1, 2."""

    def test_spec_is_constant(self) -> None:
        """Asking, sampling and resetting leave the spec alone."""
        policy = self.make_policy()
        before = copy.deepcopy(policy.spec)
        policy.reset(seed=0)
        policy.predict_action_chunk(self.make_observation(0))
        policy.reset()
        assert policy.spec == before, f"the spec changed from {before} to {policy.spec}"

    def test_chunk_has_the_shape_of_the_spec(self) -> None:
        """One prediction is (chunk_size, action_dim), finite as every `ActionChunk`."""
        policy = self.make_policy()
        policy.reset(seed=0)
        for index in range(3):
            actions = policy.predict_action_chunk(self.make_observation(index)).actions
            expected = (policy.spec.chunk_size, policy.spec.action_dim)
            assert actions.shape == expected, f"the spec promises {expected} (chunk_size, action_dim), got {actions.shape}"
            assert np.isfinite(actions).all()

    def test_same_seed_gives_the_same_chunks(self) -> None:
        """`reset(seed)` makes an episode repeatable, on the same policy and on another copy."""
        policy, other = self.make_policy(), self.make_policy()
        runs = []
        for candidate in (policy, policy, other):
            candidate.reset(seed=7)
            runs.append([candidate.predict_action_chunk(self.make_observation(index)).actions for index in range(3)])
        np.testing.assert_array_equal(runs[0], runs[1], err_msg="reset(seed=7) twice on one policy gave different chunks")
        np.testing.assert_array_equal(runs[0], runs[2], err_msg="reset(seed=7) on two fresh policies gave different chunks")

    def test_batched_equals_single(self) -> None:
        """`predict_action_chunks` gives the chunks of single calls, in order."""
        observations = [self.make_observation(index) for index in range(3)]
        policy = self.make_policy()
        policy.reset(seed=3)
        batched = [chunk.actions for chunk in policy.predict_action_chunks(observations)]
        policy.reset(seed=3)
        single = [policy.predict_action_chunk(observation).actions for observation in observations]
        np.testing.assert_allclose(batched, single, atol=self.batch_tolerance, rtol=self.batch_tolerance)

    def test_a_missing_key_raises_missing_observation(self) -> None:
        """Every key that the spec names is refused by name when it is not there, alone and in a batch."""
        policy = self.make_policy()
        needed = [*policy.spec.observation_shapes, *(["instruction"] if policy.spec.needs_instruction else [])]
        for key in needed:
            partial = {name: value for name, value in self.make_observation(0).items() if name != key}
            for ask in (lambda: policy.predict_action_chunk(partial), lambda: policy.predict_action_chunks([partial])):  # noqa: B023 - called at once
                try:
                    ask()
                except MissingObservation as error:
                    assert key in str(error), f"the message must name the key {key!r}, got {error}"
                else:
                    raise AssertionError(f"an observation without {key!r} must raise MissingObservation")

    def test_observations_are_not_changed(self) -> None:
        """A prediction leaves the caller's observation alone."""
        observation = self.make_observation(0)
        before = copy.deepcopy(observation)
        self.make_policy().predict_action_chunk(observation)
        assert sorted(observation) == sorted(before)
        for key, value in before.items():
            np.testing.assert_array_equal(observation[key], value, err_msg=f"the policy changed observation[{key!r}]")

    def test_recomputed_log_probs_equal_the_sampled_ones(self) -> None:
        """Under unchanged weights `evaluate_chunks` gives, action for action, the log-probs of `sample_chunks`."""
        policy, observations, samples = self._sampled()
        log_probs, entropy = policy.evaluate_chunks(observations, [sample.trace for sample in samples])
        expected = np.stack([sample.log_probs for sample in samples])
        assert expected.shape == (len(observations), policy.spec.chunk_size), f"log-probs must be (B, chunk_size), got {expected.shape}"
        for sample in samples:
            assert sample.actions.shape == (policy.spec.chunk_size, policy.spec.action_dim)
            assert np.isfinite(sample.actions).all()
        tolerance = self.log_prob_tolerance
        np.testing.assert_allclose(log_probs.detach().cpu().numpy(), expected, rtol=tolerance, atol=tolerance)
        assert entropy is None or bool(entropy.isfinite().all())

    def test_same_generator_gives_the_same_samples(self) -> None:
        """The generator is the only source of noise."""
        _, _, first = self._sampled()
        _, _, second = self._sampled()
        np.testing.assert_array_equal([s.actions for s in first], [s.actions for s in second])

    def test_gradient_flows_from_the_log_probs_to_the_weights(self) -> None:
        """The log-prob of a sample moves at least one parameter, and no gradient is NaN."""
        policy, observations, samples = self._sampled()
        parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        assert parameters, "parameters() gave nothing that requires a gradient"
        for parameter in parameters:
            parameter.grad = None
        log_probs, _ = policy.evaluate_chunks(observations, [sample.trace for sample in samples])
        log_probs.sum().backward()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        assert all(bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite"
        assert any(bool((gradient != 0).any()) for gradient in gradients), "no parameter received a gradient"

    def test_state_dict_round_trip_restores_the_policy(self) -> None:
        """Weights that were changed come back, and with them the predictions."""
        import torch

        policy = self._trainable()
        state = copy.deepcopy(policy.state_dict())
        before = self._predictions(policy)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.1)
        policy.load_state_dict(state)
        np.testing.assert_array_equal(before, self._predictions(policy))

    def _predictions(self, policy: ChunkPolicy) -> Any:
        policy.reset(seed=0)
        return [policy.predict_action_chunk(self.make_observation(index)).actions for index in range(3)]

    def _trainable(self) -> TrainableChunkPolicy:
        policy = self.make_policy()
        if not isinstance(policy, TrainableChunkPolicy):
            raise unittest.SkipTest(f"{type(policy).__name__} is not a TrainableChunkPolicy")  # pytest counts it as a skip
        policy.reset(seed=0)
        return policy

    def _sampled(self) -> tuple[TrainableChunkPolicy, list[Observation], list[Any]]:
        policy = self._trainable()
        observations = [self.make_observation(index) for index in range(3)]
        return policy, observations, policy.sample_chunks(observations, _generator(0))


def _generator(seed: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed)
