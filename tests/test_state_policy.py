"""Laws of the small policy on states."""

from __future__ import annotations

import numpy as np
import pytest
from small_policies import small_observation, small_state_policy, target_policy

from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidSpec, MissingObservation
from policytrim_gym.policies import state_policy
from policytrim_gym.policies.increment_loss import TARGET_LOSS
from policytrim_gym.policies.state_policy import BATCH_BLOCK, StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.policy import Observation
from policytrim_gym.testing import ChunkPolicyContract

torch = pytest.importorskip("torch")


class TestStatePolicyContract(ChunkPolicyContract):
    batch_tolerance = 0.0

    def make_policy(self) -> StatePolicy:
        return small_state_policy()

    def make_observation(self, index: int) -> Observation:
        return small_observation(index)


class TestStatePolicyContractWithGain(TestStatePolicyContract):
    def make_policy(self) -> StatePolicy:
        policy = small_state_policy(hidden_size=256, chunk_size=32)
        policy.set_exploration(action_std=0.1, gain_std=0.4)
        return policy


class TestStatePolicyContractWithTargets(TestStatePolicyContract):
    def make_policy(self) -> StatePolicy:
        policy = target_policy()
        policy.set_exploration(action_std=0.1, gain_std=0.4)
        return policy


def chunks(policy: StatePolicy, indices: list[int]) -> np.ndarray:
    return np.stack([chunk.actions for chunk in policy.predict_action_chunks([small_observation(index) for index in indices])])


def samples(policy: StatePolicy, indices: list[int]) -> list[np.ndarray]:
    generators = [torch.Generator().manual_seed(index) for index in indices]
    return [sample.actions for sample in policy.sample_chunks([small_observation(index) for index in indices], generators)]


@pytest.mark.parametrize("batch_size", [1, 2, BATCH_BLOCK - 1, BATCH_BLOCK, BATCH_BLOCK + 1, 3 * BATCH_BLOCK])
def test_a_chunk_does_not_depend_on_who_else_asks(batch_size: int) -> None:
    policy = small_state_policy(hidden_size=512, num_layers=3, chunk_size=32)
    alone = chunks(policy, [0])[0]
    for place in {0, batch_size // 2, batch_size - 1}:
        others = list(range(1, batch_size))
        np.testing.assert_array_equal(chunks(policy, [*others[:place], 0, *others[place:]])[place], alone)


def test_a_sample_does_not_depend_on_who_else_asks() -> None:
    policy = small_state_policy(hidden_size=512, chunk_size=32)
    policy.set_exploration(action_std=0.2, gain_std=0.3)
    together = samples(policy, list(range(11)))
    for index in (0, 7, 10):
        np.testing.assert_array_equal(together[index], samples(policy, [index])[0])


def test_a_generator_for_all_is_drawn_from_in_order() -> None:
    policy = small_state_policy()
    first, second = policy.sample_chunks([small_observation(0)] * 2, torch.Generator().manual_seed(0))
    assert (first.actions != second.actions).any()


def test_little_noise_samples_the_mean() -> None:
    policy = small_state_policy()
    policy.set_exploration(action_std=1e-6)
    np.testing.assert_allclose(samples(policy, [0, 1]), chunks(policy, [0, 1]), atol=1e-5)


def test_seeds_make_weights_without_touching_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again, other = small_state_policy(seed=1), small_state_policy(seed=1), small_state_policy(seed=2)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    np.testing.assert_array_equal(chunks(first, [0]), chunks(again, [0]))
    assert (chunks(first, [0]) != chunks(other, [0])).any()


def test_the_instruction_and_the_state_both_matter() -> None:
    policy, observation = small_state_policy(), small_observation(0)
    one = policy.predict_action_chunk(observation).actions
    assert (policy.predict_action_chunk({**observation, "instruction": "push the puck"}).actions != one).any()
    assert (policy.predict_action_chunk({**observation, "state": observation["state"] + 0.1}).actions != one).any()


def test_normalisation_is_the_same_as_scaling_the_state() -> None:
    policy, plain = small_state_policy(), small_state_policy()
    plain.set_normalisation(np.zeros(5), np.ones(5))
    mean, std = policy.network.state_mean.numpy(), policy.network.state_std.numpy()
    observation = small_observation(0)
    scaled = {**observation, "state": (observation["state"] - mean) / std}
    np.testing.assert_allclose(policy.predict_action_chunk(observation).actions, plain.predict_action_chunk(scaled).actions, atol=1e-5)


def test_a_new_horizon_changes_the_spec_only() -> None:
    policy = small_state_policy()
    before = chunks(policy, [0])
    policy.set_execute_horizon(6)
    assert policy.spec.horizon == 6
    np.testing.assert_array_equal(chunks(policy, [0]), before)
    with pytest.raises(InvalidHorizon, match=r"1\.\.6.*got 7"):
        policy.set_execute_horizon(7)


def test_imitation_loss_is_the_mean_distance_to_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_policy, "STATE_NOISE", 0.0)
    policy, generator = small_state_policy(), torch.Generator().manual_seed(0)
    observations, targets = [small_observation(index) for index in range(3)], chunks(small_state_policy(), [0, 1, 2])
    for shift in (0.0, 1.0, -2.0):
        loss = policy.imitation_loss(observations, targets + np.float32(shift), generator).detach()
        assert float(loss) == pytest.approx(abs(shift), abs=1e-5)


def test_observations_that_do_not_fit_are_refused_by_name() -> None:
    policy = small_state_policy()
    with pytest.raises(MissingObservation, match=r"shape \(5,\), got \(4,\)"):
        policy.predict_action_chunk({"state": np.zeros(4), "instruction": "open the door"})
    with pytest.raises(MissingObservation, match="finite"):
        policy.predict_action_chunk({"state": np.full(5, np.nan), "instruction": "open the door"})
    with pytest.raises(MissingObservation, match="instruction.*None"):
        policy.predict_action_chunk({"state": np.zeros(5)})


def test_unknown_exploration_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfig, match="action_std and gain_std, got \\['temperature'\\]"):
        small_state_policy().set_exploration(temperature=1.0)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"hidden_size": 0}, InvalidConfig, "hidden_size.*got 0"),
        ({"state_size": 2.5}, InvalidConfig, "state_size.*got 2.5"),
        ({"num_layers": -1}, InvalidConfig, "num_layers.*got -1"),
        ({"execute_horizon": 7}, InvalidHorizon, "got 7"),
        ({"action_kinds": ("delta",)}, InvalidSpec, "action_kinds must be 3"),
        ({"action_origins": (0,)}, InvalidConfig, r"action_origins must be 3 indices in 0\.\.4 .*got \(0,\)"),
        ({"action_origins": (None, None, 5)}, InvalidConfig, "action_origins must be 3.*5"),
        ({"action_origins": (None, None, -1)}, InvalidConfig, "action_origins must be 3.*-1"),
        ({"action_origins": (None, None, True)}, InvalidConfig, "action_origins must be 3.*True"),
        ({"action_origins": (0, None, None)}, InvalidConfig, 'must be None where action_kinds is "delta"'),
    ],
)
def test_an_impossible_architecture_is_refused(changes: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        small_state_policy(**changes)


def test_without_action_kinds_nothing_counts_as_motion() -> None:
    policy = small_state_policy(action_kinds=None)
    policy.set_exploration(action_std=0.1, gain_std=5.0)
    spread = policy.sample_chunks([small_observation(0)], torch.Generator().manual_seed(0))[0].trace.spread
    np.testing.assert_allclose(spread.numpy(), 0.1, rtol=1e-6)


def test_the_vocabulary_sizes_the_embedding() -> None:
    policy = StatePolicy(StatePolicyConfig(state_size=2, action_dim=1, hidden_size=4), WordTokenizer.from_texts([]))
    assert policy.predict_action_chunk({"state": [0.0, 0.0], "instruction": "any words"}).chunk_size == 32


def test_targets_are_the_networks_increments_summed_from_the_last_command() -> None:
    policy, plain = target_policy(), small_state_policy()
    state = np.stack([small_observation(index)["state"] for index in range(4)])
    increments = chunks(plain, list(range(4)))
    expected = np.stack(
        [
            state[:, None, 3] + 0.05 * increments[..., 0].cumsum(axis=1),
            state[:, None, 4] + 0.02 * increments[..., 1].cumsum(axis=1),
            increments[..., 2],
        ],
        axis=-1,
    )
    np.testing.assert_allclose(chunks(policy, list(range(4))), expected, atol=1e-6)


def test_exploration_is_that_of_the_increments() -> None:
    """Noise, gain and likelihood of a policy on targets are those of one on the deltas that they sum."""
    policy, plain = target_policy(), small_state_policy()
    for each in (policy, plain):
        each.set_exploration(action_std=0.2, gain_std=0.3)
    observations = [small_observation(index) for index in range(3)]
    state = torch.from_numpy(np.stack([observation["state"] for observation in observations]))
    on_targets, on_deltas = (each.sample_chunks(observations, torch.Generator().manual_seed(0)) for each in (policy, plain))
    for targets, deltas in zip(on_targets, on_deltas):
        np.testing.assert_array_equal(targets.log_probs, deltas.log_probs)
        np.testing.assert_array_equal(targets.trace.increments, deltas.actions)
    actions = policy.increments.to_actions(torch.stack([sample.trace.increments for sample in on_targets]), state)
    np.testing.assert_array_equal(np.stack([sample.actions for sample in on_targets]), actions)


def test_the_likelihood_of_a_trace_does_not_depend_on_the_scale() -> None:
    policy, observations = target_policy(), [small_observation(0)]
    [sample] = policy.sample_chunks(observations, torch.Generator().manual_seed(0))
    policy.set_action_scale([9.0, 9.0, 9.0])
    log_probs, _ = policy.evaluate_chunks(observations, [sample.trace])
    np.testing.assert_allclose(log_probs[0].detach(), sample.log_probs, atol=1e-5)


def test_imitation_of_targets_is_measured_in_normalised_increments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_policy, "STATE_NOISE", 0.0)
    policy, generator = target_policy(), torch.Generator().manual_seed(0)
    observations, targets = [small_observation(index) for index in range(3)], chunks(target_policy(), [0, 1, 2])
    assert float(policy.imitation_loss(observations, targets, generator).detach()) == pytest.approx(0, abs=1e-5)
    # Targets that all lie one unit ahead differ by one first increment in a chunk of 6 x 3 numbers, and by one in each of the sums of one
    # of the two continued dimensions.
    ahead = targets + np.float32([0.05, 0.0, 0.0])
    in_sums = TARGET_LOSS * sum(step**-0.5 for step in range(1, 7)) / 12
    assert float(policy.imitation_loss(observations, ahead, generator).detach()) == pytest.approx(1 / 18 + in_sums, abs=1e-5)
