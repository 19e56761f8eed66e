"""Laws of the state policy as SB3's actor-critic."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from line_env import CHUNK_SIZE, LineEnv, slow_policy
from small_policies import small_observation, small_state_policy, target_policy
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env

from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.evaluation.evaluate import evaluate_policy
from policytrim_gym.policies.gaussian_head import gaussian_log_prob
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.sb3_chunk_policy import ChunkActorCriticPolicy, instruction_encoder
from policytrim_gym.policies.state_policy import INSTRUCTION_LENGTH, StatePolicy
from policytrim_gym.testing import ChunkPolicyContract
from policytrim_gym.wrappers.encode_instruction import EncodeInstruction
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.fail_at_time_limit import FailAtTimeLimit
from policytrim_gym.wrappers.trim_reward import ApplyTrimReward, TrimReward

CHUNK_SHAPE = (6, 3)
OBSERVATIONS = gym.spaces.Dict(
    {
        "state": gym.spaces.Box(-np.inf, np.inf, (5,), np.float32),
        "instruction": gym.spaces.Box(0, 99, (INSTRUCTION_LENGTH,), np.int32),
    }
)
CHUNKS = gym.spaces.Box(-np.inf, np.inf, CHUNK_SHAPE, np.float32)


def actor_critic(policy: StatePolicy | None = None, **changes) -> ChunkActorCriticPolicy:
    return ChunkActorCriticPolicy(OBSERVATIONS, CHUNKS, lambda _: 1e-3, policy or small_state_policy(), **changes)


def encoded(policy: StatePolicy, count: int) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Returns observations as the policy takes them, and as SB3 does."""
    observations = [small_observation(index) for index in range(count)]
    encode = instruction_encoder(policy)
    batch = {
        "state": np.stack([observation["state"] for observation in observations]),
        "instruction": np.array([encode(observation["instruction"]) for observation in observations], np.int32),
    }
    return observations, batch


def random_chunks(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, *CHUNK_SHAPE), generator=torch.Generator().manual_seed(seed)).flatten(start_dim=1)


def as_tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.as_tensor(value) for key, value in batch.items()}


def make_line_env(base: StatePolicy, execute_horizon: int, max_steps: int = 150) -> gym.Env:
    env = ExecuteChunk(EncodeInstruction(LineEnv(max_steps), instruction_encoder(base)), CHUNK_SIZE, execute_horizon)
    return FailAtTimeLimit(ApplyTrimReward(env, TrimReward(beta=0.0, base_steps=80)))


def line_ppo(base: StatePolicy, execute_horizon: int = 4, **changes) -> PPO:
    env = make_vec_env(lambda: make_line_env(base, execute_horizon), n_envs=2)
    settings = {"n_steps": 32, "batch_size": 32, "gamma": 1.0, "seed": 0, "device": "cpu"}
    kwargs = {"policy": base, "execute_horizon": execute_horizon}
    return PPO(ChunkActorCriticPolicy, env, policy_kwargs=kwargs, **{**settings, **changes})


class TestWhatComesOutOfTheActorCriticContract(ChunkPolicyContract):
    batch_tolerance = 0.0

    def make_policy(self) -> StatePolicy:
        return actor_critic().to_chunk_policy()

    def make_observation(self, index: int) -> dict:
        return small_observation(index)


def test_the_best_chunk_is_the_policys_own() -> None:
    base = small_state_policy()
    observations, batch = encoded(base, 9)
    chunks, _ = actor_critic(base).predict(batch, deterministic=True)
    expected = [chunk.actions for chunk in base.predict_action_chunks(observations)]
    np.testing.assert_allclose(chunks, expected, atol=1e-6)


@pytest.mark.parametrize("execute_horizon", [1, 4, 6])
def test_the_log_prob_is_the_gaussian_heads_over_the_prefix(execute_horizon: int) -> None:
    base = small_state_policy()
    observations, batch = encoded(base, 5)
    policy = actor_critic(base, execute_horizon=execute_horizon, action_std=0.3)
    chunks = random_chunks(5)
    _, log_prob, entropy = policy.evaluate_actions(as_tensors(batch), chunks)
    mean = base.network(*base.encode(observations))
    expected = gaussian_log_prob(chunks.view(-1, *CHUNK_SHAPE), mean, torch.full_like(mean, 0.3))[:, :execute_horizon].sum(dim=1)
    torch.testing.assert_close(log_prob, expected)
    assert entropy is not None
    one_number = 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    torch.testing.assert_close(entropy, torch.full((5,), execute_horizon * CHUNK_SHAPE[1] * one_number))


def test_collecting_and_training_see_the_same_likelihood() -> None:
    base = small_state_policy()
    tensors = as_tensors(encoded(base, 4)[1])
    policy = actor_critic(base)
    chunks, values, log_prob = policy(tensors)
    assert chunks.shape == (4, *CHUNK_SHAPE) and values.shape == (4, 1) and log_prob.shape == (4,)
    again = policy.evaluate_actions(tensors, chunks.flatten(start_dim=1))
    torch.testing.assert_close(again[0], values)
    torch.testing.assert_close(again[1], log_prob)
    torch.testing.assert_close(policy.predict_values(tensors), values)


def test_the_tail_has_no_gradient() -> None:
    base = small_state_policy()
    chunks = random_chunks(3).requires_grad_()
    policy = actor_critic(base, execute_horizon=2)
    _, log_prob, _ = policy.evaluate_actions(as_tensors(encoded(base, 3)[1]), chunks)
    log_prob.sum().backward()
    assert chunks.grad is not None
    gradient = chunks.grad.view(-1, *CHUNK_SHAPE)
    assert (gradient[:, :2] != 0).all() and (gradient[:, 2:] == 0).all()
    # Nor do the weights learn from it: the head's rows of the tail stay where they are.
    head = policy.mlp_extractor.actor.head.bias.grad.view(CHUNK_SHAPE)  # type: ignore[union-attr]
    assert (head[:2] != 0).all() and (head[2:] == 0).all()


def test_a_better_half_becomes_likelier() -> None:
    base = small_state_policy()
    policy = actor_critic(base)
    tensors, chunks = as_tensors(encoded(base, 8)[1]), random_chunks(8)
    advantages = torch.tensor([1.0, -1.0] * 4)
    before = policy.evaluate_actions(tensors, chunks)[1]
    loss = -(advantages * torch.exp(before - before.detach())).mean()
    loss.backward()
    policy.optimizer.step()
    change = (policy.evaluate_actions(tensors, chunks)[1] - before).detach()
    assert change[advantages > 0].mean() > 0 > change[advantages < 0].mean()


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_the_critic_learns_at_its_multiple_of_the_scheduled_rate(factor: float) -> None:
    """Adam's first step moves a weight by its learning rate, whatever the gradient."""
    base = slow_policy()
    model = line_ppo(base, n_epochs=1, batch_size=64, learning_rate=1e-3)
    model.policy_kwargs["critic_lr_factor"] = factor
    model._setup_model()
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(64)
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.policy.state_dict().items()}
    assert moved["mlp_extractor.actor.head.weight"] == pytest.approx(1e-3, rel=0.05)
    assert moved["mlp_extractor.critic.head.weight"] == pytest.approx(factor * 1e-3, rel=0.05)


def test_a_policy_goes_in_and_comes_out_the_same(tmp_path) -> None:
    base = small_state_policy()
    base.save_pretrained(str(tmp_path))
    for policy in (actor_critic(base, execute_horizon=2), actor_critic(str(tmp_path), execute_horizon=2)):  # type: ignore[arg-type]
        out = policy.to_chunk_policy()
        assert out.spec == base.spec.with_horizon(2)
        for name, value in base.state_dict().items():
            assert torch.equal(out.state_dict()[name], value)


def test_training_touches_neither_the_base_nor_what_was_taken_out_before() -> None:
    base = slow_policy()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    model = line_ppo(base)
    taken = model.policy.to_chunk_policy()
    model.learn(64)
    trained = model.policy.to_chunk_policy().state_dict()
    assert not torch.equal(trained["head.bias"], before["head.bias"])
    for name, value in before.items():
        assert torch.equal(base.state_dict()[name], value) and torch.equal(taken.state_dict()[name], value)
    for name in ("state_mean", "state_std"):
        assert torch.equal(trained[name], before[name])
    assert model.policy.log_std.exp().tolist() == pytest.approx([0.1] * CHUNK_SIZE)  # the spread is fixed


@pytest.mark.parametrize("as_folder", [False, True])
def test_an_archive_predicts_the_same_and_trains_on(tmp_path, as_folder: bool) -> None:
    base = slow_policy()
    base.save_pretrained(str(tmp_path / "base"))
    model = line_ppo(base)
    if as_folder:
        kwargs = {"policy": str(tmp_path / "base"), "execute_horizon": 4}
        model = PPO(ChunkActorCriticPolicy, model.get_env(), n_steps=32, batch_size=32, policy_kwargs=kwargs, seed=0, device="cpu")
    model.learn(64)
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    observation = model.get_env().reset()
    np.testing.assert_array_equal(loaded.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0])
    assert loaded.policy.execute_horizon == 4
    loaded.learn(64)


def test_the_policy_alone_can_be_saved(tmp_path) -> None:
    policy = actor_critic(execute_horizon=2, action_std=0.3, critic_size=8)
    policy.save(str(tmp_path / "policy.pt"))
    loaded = ChunkActorCriticPolicy.load(str(tmp_path / "policy.pt"))
    batch = encoded(small_state_policy(), 3)[1]
    np.testing.assert_array_equal(loaded.predict(batch, deterministic=True)[0], policy.predict(batch, deterministic=True)[0])
    assert (loaded.execute_horizon, loaded.action_std) == (2, pytest.approx(0.3))
    torch.testing.assert_close(loaded.predict_values(as_tensors(batch)), policy.predict_values(as_tensors(batch)))


def test_a_seed_repeats_a_training() -> None:
    first, second = (line_ppo(slow_policy()).learn(64).policy.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a2c_takes_it_too() -> None:
    base = slow_policy()
    env = make_vec_env(lambda: make_line_env(base, 4), n_envs=1)
    A2C(ChunkActorCriticPolicy, env, policy_kwargs={"policy": base, "execute_horizon": 4}, device="cpu").learn(10)


@pytest.mark.slow
def test_ppo_makes_a_slow_clone_faster(tmp_path) -> None:
    base = slow_policy()
    before = evaluate_policy(base, LineEnv, 4, num_episodes=20, num_workers=0)
    model = line_ppo(base, n_steps=128, batch_size=128, learning_rate=3e-4, n_epochs=5).learn(6000)
    model.policy.to_chunk_policy().save_pretrained(str(tmp_path))
    after = evaluate_policy(load_policy(str(tmp_path)), LineEnv, num_episodes=20, num_workers=0)
    assert after.execute_horizon == 4
    assert after.success_rate >= before.success_rate - 0.1
    assert before.steps_mean_success is not None and after.steps_mean_success is not None
    assert after.steps_mean_success < 0.85 * before.steps_mean_success


def test_what_does_not_fit_is_named() -> None:
    base = small_state_policy()
    with pytest.raises(InvalidSpec, match=r'observation\["instruction"\] must have shape \(16,\) \(see EncodeInstruction\)'):
        ChunkActorCriticPolicy(gym.spaces.Dict({"state": OBSERVATIONS["state"]}), CHUNKS, lambda _: 1e-3, base)
    with pytest.raises(InvalidSpec, match=r'observation\["state"\] must have shape \(5,\)'):
        ChunkActorCriticPolicy(OBSERVATIONS["state"], CHUNKS, lambda _: 1e-3, base)
    with pytest.raises(InvalidSpec, match=r"chunk of shape \(6, 3\) \(see ExecuteChunk\), got Box.*\(3,\)"):
        ChunkActorCriticPolicy(OBSERVATIONS, gym.spaces.Box(-1, 1, (3,)), lambda _: 1e-3, base)
    with pytest.raises(InvalidHorizon, match="execute_horizon must be in 1..6"):
        actor_critic(base, execute_horizon=7)
    with pytest.raises(InvalidConfig, match="action_std must be above 0, got 0"):
        actor_critic(base, action_std=0)
    with pytest.raises(InvalidConfig, match="critic_size must be an integer of at least 1, got 0"):
        actor_critic(base, critic_size=0)
    with pytest.raises(InvalidConfig, match="critic_lr_factor must be above 0, got -1"):
        actor_critic(base, critic_lr_factor=-1)
    with pytest.raises(InvalidConfig, match="use_sde must be False"):
        actor_critic(base, use_sde=True)
    with pytest.raises(InvalidSpec, match="must be a StatePolicy or the URI of one, got int"):
        actor_critic(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("origins", [(3, 4, None), None], ids=str)
def test_a_policy_whose_network_predicts_increments_is_refused(origins: tuple[int | None, ...] | None) -> None:
    with pytest.raises(InvalidSpec, match=r"neither action_origins nor an action_scale, got .*\[0.05.*TrimGRPO"):
        actor_critic(target_policy(action_origins=origins))
