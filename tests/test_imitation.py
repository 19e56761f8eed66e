"""Laws of imitation and cloning."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from small_policies import small_observation, small_state_policy

from policytrim_gym.errors import InvalidConfig, InvalidHorizon, MissingObservation, NoDemonstrations
from policytrim_gym.policies import increment_loss, state_policy
from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policies.state_checkpoint import load_state_policy
from policytrim_gym.policies.state_policy import StatePolicy
from policytrim_gym.rollouts.env_factory import as_factory
from policytrim_gym.training import clone as clone_module
from policytrim_gym.training.clone import CloneConfig, clone, clone_into
from policytrim_gym.training.demonstrations import Demonstration, DemonstrationSet
from policytrim_gym.training.imitation import chunk_targets, imitate

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("chunk_size", [1, 3, 10, 25])
@pytest.mark.parametrize("num_steps", [1, 2, 10])
def test_targets_are_the_actions_that_follow_and_then_the_last_one(num_steps: int, chunk_size: int) -> None:
    actions = np.random.default_rng(0).normal(size=(num_steps, 2)).astype(np.float32)
    targets = chunk_targets(actions, chunk_size)
    assert targets.shape == (num_steps, chunk_size, 2) and targets.dtype == np.float32
    for step in range(num_steps):
        for k in range(chunk_size):
            np.testing.assert_array_equal(targets[step, k], actions[min(step + k, num_steps - 1)])


def test_running_the_first_action_of_each_target_is_the_demonstration() -> None:
    actions = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_array_equal(chunk_targets(actions, 4)[:, 0], actions)
    np.testing.assert_array_equal(chunk_targets(actions, 1)[:, 0], actions)


def tiny_set(policy: StatePolicy) -> tuple[list[dict], np.ndarray]:
    shape = (4, policy.spec.chunk_size, policy.spec.action_dim)
    return [small_observation(index) for index in range(4)], np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def imitate_tiny_set(policy: StatePolicy, gradient_steps: int, seed: int = 0) -> list[float]:
    observations, targets = tiny_set(policy)
    losses: list[float] = []
    imitate(policy, observations, targets, gradient_steps, 8, 1e-2, seed, lambda step, loss: losses.append(loss))
    assert len(losses) == gradient_steps
    return losses


def test_a_tiny_set_is_learnt_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_policy, "STATE_NOISE", 0.0)
    policy = small_state_policy(hidden_size=64)
    losses = imitate_tiny_set(policy, 400)
    assert losses[0] > 0.3 and losses[-1] < 0.03
    observations, targets = tiny_set(policy)
    predicted = np.stack([chunk.actions for chunk in policy.predict_action_chunks(observations)])
    np.testing.assert_allclose(predicted, targets, atol=0.1)


def test_imitation_is_the_same_for_a_seed() -> None:
    first, again = small_state_policy(), small_state_policy()
    assert imitate_tiny_set(first, 5) == imitate_tiny_set(again, 5) != imitate_tiny_set(small_state_policy(), 5, seed=1)
    for key, value in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0)


def test_imitation_leaves_the_normalisation_and_the_global_generator_alone() -> None:
    policy = small_state_policy()
    mean = policy.network.state_mean.clone()
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    imitate_tiny_set(policy, 3)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
    torch.testing.assert_close(policy.network.state_mean, mean, rtol=0, atol=0)


def test_an_observation_that_does_not_fit_is_refused_by_name() -> None:
    policy = small_state_policy()
    with pytest.raises(MissingObservation, match="instruction"):
        imitate(policy, [{"state": np.zeros(5, np.float32)}], np.zeros((1, 6, 3), np.float32), 1, 1, 1e-3, 0)


def demonstrations() -> DemonstrationSet:
    """Two tasks that walk to 1 and to -1 on the first number of the state; the second number never moves."""
    demos = []
    for task, goal in (("up", 1.0), ("down", -1.0)):
        for start in (-0.2, 0.0, 0.2):
            place = np.linspace(start, goal, 12, dtype=np.float32)
            states = np.stack([place, np.zeros_like(place)], axis=1)[:-1]
            demos.append(Demonstration(task, f"walk {task}", states, np.diff(place)[:, None]))
    return DemonstrationSet("full-speed", tuple(demos), {"up": 1, "down": 0})


CONFIG = CloneConfig(chunk_size=4, execute_horizon=2, hidden_size=32, num_layers=2, gradient_steps=300, batch_size=32)


def test_a_clone_does_as_it_was_shown() -> None:
    policy = clone(demonstrations(), CONFIG, ("delta",), 0.1)
    for task, sign in (("up", 1.0), ("down", -1.0)):
        actions = policy.predict_action_chunk({"state": [0.0, 0.0], "instruction": f"walk {task}"}).actions
        np.testing.assert_allclose(actions, sign / 11, atol=0.03)


def test_a_clones_spec_is_that_of_its_config_and_environment() -> None:
    spec = clone(demonstrations(), CloneConfig(**{**vars(CONFIG), "gradient_steps": 1}), ("delta",), 0.1).spec
    assert (spec.chunk_size, spec.execute_horizon, spec.action_dim) == (4, 2, 1)
    assert (spec.action_kinds, spec.control_dt_s, spec.observation_shapes) == (("delta",), 0.1, {"state": (2,)})


def test_a_clone_normalises_by_its_demonstrations() -> None:
    policy = clone(demonstrations(), CloneConfig(**{**vars(CONFIG), "gradient_steps": 1}))
    states = np.concatenate([demonstration.states for demonstration in demonstrations().demonstrations])
    np.testing.assert_allclose(policy.network.state_mean.numpy(), states.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(policy.network.state_std.numpy(), [states[:, 0].std(), 0.01], rtol=1e-5)


def test_cloning_is_the_same_for_a_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        policy = clone(demonstrations(), CloneConfig(**{**vars(CONFIG), "gradient_steps": 10, "seed": seed}))
        return torch.cat([parameter.detach().ravel() for parameter in policy.parameters()])

    torch.testing.assert_close(weights(0), weights(0), rtol=0, atol=0)
    assert (weights(0) != weights(1)).any()


def target_demonstrations() -> DemonstrationSet:
    """The same walks and a stop, as places to be: the state's first number is the last one."""
    demos = [
        demo._replace(
            states=np.concatenate([demo.states, demo.states[-1:] + [[demo.actions[-1, 0], 0]]]).astype(np.float32),
            actions=np.concatenate([demo.states[:, :1] + demo.actions, demo.states[-1:, :1] + demo.actions[-1:]]),
        )
        for demo in demonstrations().demonstrations
    ]
    return DemonstrationSet("full-speed", tuple(demos), {"up": 1, "down": 0})


def test_a_clone_on_targets_walks_on_from_the_last_one() -> None:
    policy = clone(target_demonstrations(), CONFIG, ("position",), 0.1, action_origins=(0,), action_range=[2.0])
    for task, sign in (("up", 1.0), ("down", -1.0)):
        actions = policy.predict_action_chunk({"state": [0.0, 0.0], "instruction": f"walk {task}"}).actions
        np.testing.assert_allclose(actions[:, 0], sign / 11 * np.arange(1, 5), atol=0.03)


def test_a_clone_on_targets_is_the_clone_on_the_deltas_that_they_sum_but_for_the_loss_on_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(increment_loss, "TARGET_LOSS", 0.0)
    targets = target_demonstrations()
    deltas = [demo._replace(actions=demo.actions - demo.states[:, :1]) for demo in targets.demonstrations]
    config = CloneConfig(**{**vars(CONFIG), "gradient_steps": 20})
    on_targets = clone(targets, config, ("position",), action_origins=(0,), action_range=[2.0])
    on_deltas = clone(DemonstrationSet("full-speed", tuple(deltas), {}), config, ("delta",), action_range=[2.0])
    observation = {"state": np.float32([0.4, 0.0]), "instruction": "walk up"}
    summed = 0.4 + on_deltas.predict_action_chunk(observation).actions.cumsum(axis=0)
    np.testing.assert_allclose(on_targets.predict_action_chunk(observation).actions, summed, atol=1e-4)


def test_actions_that_declare_no_unit_are_learnt_as_they_are() -> None:
    policy = clone(demonstrations(), CloneConfig(**{**vars(CONFIG), "gradient_steps": 1}), ("delta",), 0.1)
    assert policy.increments.is_identity and "action_scale" not in policy.state_dict()


class TargetEnv(gym.Env):
    """Declares what an environment on targets declares; nobody steps it here."""

    tasks, action_kinds, action_origins, control_dt_s = ("up", "down"), ("position",), (0,), 0.05
    action_space = gym.spaces.Box(-2.0, 2.0, (1,))

    def make_expert(self, demonstrator: str, seed: int) -> None:
        """Is there, so that the environment can be cloned from."""


class PhysicalTargetEnv(TargetEnv):
    physical_action_units = True


@pytest.mark.parametrize(("env", "scale"), [(TargetEnv, 1.0), (PhysicalTargetEnv, 1.2 / 11)])
def test_a_clone_takes_its_actions_from_the_environment(
    env: type[TargetEnv], scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone_module, "record_demonstrations", lambda *_: target_demonstrations())
    clone_into(tmp_path, as_factory(env), CloneConfig(**{**vars(CONFIG), "gradient_steps": 1}))
    policy = load_state_policy(str(tmp_path))
    assert (policy.config.action_origins, policy.spec.action_kinds, policy.spec.control_dt_s) == ((0,), ("position",), 0.05)
    np.testing.assert_allclose(policy.increments.scale, [scale], rtol=0.01)


def test_a_clone_over_another_one_has_its_own_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clone_module, "record_demonstrations", lambda *_: target_demonstrations())
    for seed in (0, 1):
        clone_into(tmp_path, as_factory(TargetEnv), CloneConfig(**{**vars(CONFIG), "gradient_steps": 1, "seed": seed}))
        facts = load_facts(tmp_path)
        assert facts is not None and facts.settings is not None and facts.settings["seed"] == seed


def test_a_set_of_demonstrations_sums_itself_up() -> None:
    assert demonstrations().summary() == {
        "demonstrator": "full-speed",
        "tasks": {"up": {"kept": 3, "failed": 1, "steps_mean": 11.0}, "down": {"kept": 3, "failed": 0, "steps_mean": 11.0}},
    }


@pytest.mark.parametrize("values", [{"demos_per_task": 0}, {"gradient_steps": -1}, {"batch_size": 0}, {"learning_rate": 0.0}], ids=str)
def test_an_impossible_config_is_refused_by_name(values: dict) -> None:
    [(name, value)] = values.items()
    with pytest.raises(InvalidConfig, match=f"{name} must be .* got {value}"):
        CloneConfig(**values)


def test_a_stock_horizon_beyond_the_chunk_is_refused_before_anything_is_recorded() -> None:
    with pytest.raises(InvalidHorizon, match=r"1\.\.4 \(chunk_size\), got 5"):
        CloneConfig(chunk_size=4, execute_horizon=5)


def test_nothing_to_imitate_is_refused() -> None:
    with pytest.raises(NoDemonstrations, match="got none"):
        clone(DemonstrationSet("full-speed", (), {}), CONFIG)
