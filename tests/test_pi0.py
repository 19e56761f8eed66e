"""Laws of pi0 as a policy, on the class of transformers with small random weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from small_pi0 import CAMERAS, INSTRUCTIONS, TINY, pi0_observation, random_pi0

from policytrim_gym.errors import InvalidConfig, InvalidSpec, MissingObservation
from policytrim_gym.policies.flow_sde import denoising_time, euler_step
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.observation_noise import observation_generator
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_small import small_pi0_policy
from policytrim_gym.policies.vector_transforms import unnormalize_z_score
from policytrim_gym.policies.word_level_tokenizer import word_level_tokenizer
from policytrim_gym.testing import ChunkPolicyContract
from policytrim_gym.training.grpo_update import GRPOUpdater
from policytrim_gym.training.imitation import imitate
from policytrim_gym.training.trim_config import TrimConfig

OBSERVATIONS = [pi0_observation(index) for index in range(4)]


class TestPi0Contract(ChunkPolicyContract):
    def make_policy(self) -> Pi0Policy:
        return random_pi0()

    def make_observation(self, index: int) -> dict:
        return pi0_observation(index)


class TestPi0WithAdaptersContract(TestPi0Contract):
    def make_policy(self) -> Pi0Policy:
        pytest.importorskip("peft")
        return random_pi0(trainable="lora", lora_rank=2, batch_block=2)


def sample(policy: Pi0Policy, seed: int = 0) -> list:
    return policy.sample_chunks(OBSERVATIONS, torch.Generator().manual_seed(seed))


def test_a_manual_euler_loop_over_forward_is_sample_actions_and_the_prediction() -> None:
    policy = random_pi0(batch_block=4)
    policy.reset(seed=5)
    inputs = policy.encode(OBSERVATIONS)._asdict()
    noise = policy._draw_noise(
        [observation_generator(observation, [f"image_{camera}" for camera in CAMERAS], 5) for observation in OBSERVATIONS]
    )
    with torch.no_grad():
        expected = policy.model.sample_actions(**inputs, noise=noise)
        x = noise
        for step in range(4):
            velocity = policy.model(**inputs, noise=x, timestep=torch.full((4,), denoising_time(step, 4))).logits
            x = euler_step(x, velocity, 4)
    assert torch.equal(x, expected)
    chunks = np.stack([chunk.actions for chunk in policy.predict_action_chunks(OBSERVATIONS)])
    np.testing.assert_array_equal(chunks, unnormalize_z_score(expected[..., :2].numpy(), policy.action_statistics).astype(np.float32))


def test_a_chunk_depends_on_seed_and_observation_but_on_no_one_else() -> None:
    policy = random_pi0()
    first = policy.predict_action_chunk(OBSERVATIONS[0]).actions
    np.testing.assert_array_equal(policy.predict_action_chunks(OBSERVATIONS[::-1])[-1].actions, first)
    policy.reset(seed=1)
    assert not np.array_equal(policy.predict_action_chunk(OBSERVATIONS[0]).actions, first)


def test_every_part_of_the_observation_reaches_the_velocity() -> None:
    policy = random_pi0()
    [sampled] = policy.sample_chunks(OBSERVATIONS[:1], torch.Generator().manual_seed(0))
    for key, value in OBSERVATIONS[1].items():
        changed = {**OBSERVATIONS[0], key: value}
        assert not np.allclose(policy.evaluate_chunks([changed], [sampled.trace])[0].detach(), sampled.log_probs, atol=1e-6), key


def test_no_word_of_the_instructions_that_make_a_tokenizer_is_unknown_to_it() -> None:
    texts = ["Push the T-block, don't drop it", "open_drawer", "close_drawer", "öffne die Tür", "schließe die Tür"]
    tokenizer = word_level_tokenizer(texts)
    prompts = [tokenizer(f"{text}\n", add_special_tokens=False)["input_ids"] for text in texts]
    assert not any(tokenizer.unk_token_id in prompt for prompt in prompts)
    assert len(set(map(tuple, prompts))) == len(texts)


def test_padding_of_the_prompt_changes_nothing() -> None:
    traces = [sampled.trace for sampled in sample(random_pi0())]
    short, long = (random_pi0(prompt_length=length).evaluate_chunks(OBSERVATIONS, traces)[0] for length in (8, 16))
    torch.testing.assert_close(short, long, atol=1e-4, rtol=1e-4)


def test_actions_are_in_the_units_of_the_statistics() -> None:
    policy = random_pi0()
    for sampled in sample(policy):
        np.testing.assert_allclose(sampled.actions, sampled.trace.sampled.numpy() * [0.2, 2.0] + [0.5, -0.5], rtol=1e-5, atol=1e-5)


def test_the_likelihood_of_an_executed_prefix_does_not_know_the_tail() -> None:
    policy = random_pi0()
    [sampled] = policy.sample_chunks(OBSERVATIONS[:1], torch.Generator().manual_seed(0))
    other_tail = sampled.trace.sampled.clone()
    other_tail[3:] += 1.0
    log_probs = policy.evaluate_chunks(OBSERVATIONS[:1], [sampled.trace._replace(sampled=other_tail)])[0][0].detach().numpy()
    np.testing.assert_allclose(log_probs[:3], sampled.log_probs[:3], atol=1e-4)
    assert (log_probs[3:] < sampled.log_probs[3:] - 1.0).all()


def test_less_noise_samples_nearer_to_the_prediction_without_noise() -> None:
    policy = random_pi0()
    spreads = []
    for noise in (0.01, 0.1, 1.0):
        policy.set_exploration(noise=noise)
        chunks = np.stack([policy.sample_chunks(OBSERVATIONS[:1], [torch.Generator().manual_seed(0)])[0].trace.sampled])
        policy.set_exploration(noise=1e-6)
        centre = policy.sample_chunks(OBSERVATIONS[:1], [torch.Generator().manual_seed(0)])[0].trace.sampled
        spreads.append(float(np.abs(chunks - centre.numpy()).mean()))
    assert spreads[0] == pytest.approx(spreads[1] / 10, rel=0.1)
    assert spreads[1] < spreads[2]


def test_one_update_makes_the_better_half_likelier() -> None:
    policy = random_pi0()
    samples = sample(policy)
    rollouts: list[Any] = [
        SimpleNamespace(observations=[observation], windows=[SimpleNamespace(record=sampled)], executed_steps=[3], steps=3)
        for observation, sampled in zip(OBSERVATIONS, samples)
    ]

    def log_likelihoods() -> np.ndarray:
        log_probs, _ = policy.evaluate_chunks(OBSERVATIONS, [sampled.trace for sampled in samples])
        return log_probs.detach().numpy()[:, :3].sum(axis=1)

    before = log_likelihoods()
    advantages = np.array([1.0, -1.0, 1.0, -1.0])
    assert GRPOUpdater(policy, replace(TrimConfig(), learning_rate=1e-4)).update(rollouts, advantages, seed=0) is not None
    change = log_likelihoods() - before
    assert change[advantages > 0].min() > 0 > change[advantages < 0].max()


def test_imitation_brings_the_flow_to_the_targets() -> None:
    policy = small_pi0_policy(state_size=3, action_dim=2, texts=INSTRUCTIONS, cameras=CAMERAS, chunk_size=4, config=TINY)
    targets = np.random.default_rng(0).normal(size=(4, 1, 2)).repeat(4, axis=1).astype(np.float32)

    def error() -> float:
        chunks = policy.predict_action_chunks(OBSERVATIONS)
        return float(np.mean([np.abs(chunk.actions - target) for chunk, target in zip(chunks, targets)]))

    before = error()
    imitate(policy, OBSERVATIONS, targets, gradient_steps=150, batch_size=16, learning_rate=3e-3, seed=0)
    assert error() < 0.5 * before


def test_the_generator_is_the_only_source_of_the_imitation_loss() -> None:
    policy = random_pi0()
    targets = np.zeros((4, 6, 2), np.float32)
    losses = [float(policy.imitation_loss(OBSERVATIONS, targets, torch.Generator().manual_seed(seed)).detach()) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(("trainable", "part"), [("expert", "dit"), ("lora", "lora_")])
def test_what_is_frozen_stays(trainable: str, part: str) -> None:
    if trainable == "lora":
        pytest.importorskip("peft")
    policy = random_pi0(trainable=trainable)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    imitate(policy, OBSERVATIONS, np.ones((4, 6, 2), np.float32), gradient_steps=2, batch_size=4, learning_rate=1e-2, seed=0)
    changed = {name for name, value in policy.model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(part in name for name in changed)
    assert changed <= set(policy.state_dict())
    assert not any("vlm" in name and "lora_" not in name for name in changed)
    assert sum(parameter.numel() for parameter in policy.parameters()) < sum(value.numel() for value in before.values())


def test_fresh_adapters_change_nothing() -> None:
    pytest.importorskip("peft")
    plain, adapted = (random_pi0(trainable=trainable).predict_action_chunk(OBSERVATIONS[0]).actions for trainable in ("all", "lora"))
    np.testing.assert_array_equal(plain, adapted)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_front": np.zeros((24, 32, 3), np.float32)}, "image_front.* must be uint8 in 0..255, got float32"),
        ({"image_front": np.zeros((24, 32, 4), np.uint8)}, r"image_front.* must have shape .*3\), got \(24, 32, 4\)"),
        ({"image_front": np.zeros((24, 32), np.uint8)}, "image_front.* must have shape"),
        ({"state": np.full(3, np.nan, np.float32)}, "state.* must be finite, got nan"),
        ({"state": np.zeros(4, np.float32)}, r"state.* must have shape \(3,\), got \(4,\)"),
        ({"instruction": "open the door " * 9}, "must have at most 8 tokens .prompt_length., got 28"),
        ({"instruction": None}, "instruction.* must be a string"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(MissingObservation, match=words):
        random_pi0().predict_action_chunk({**OBSERVATIONS[0], **changes})


@pytest.mark.parametrize("values", [{"noise": 0.0}, {"noise": float("nan")}, {"action_std": 0.1}, {}])
def test_exploration_is_noise_above_0(values: dict) -> None:
    with pytest.raises(InvalidConfig, match="noise"):
        random_pi0().set_exploration(**values)


def test_sizes_beyond_the_models_are_refused() -> None:
    policy = random_pi0()
    wide = NormStatistics((0.0,) * 9, (1.0,) * 9)
    with pytest.raises(InvalidSpec, match="at most 8 numbers .max_state_dim., got statistics of 9"):
        Pi0Policy(policy.model, policy.tokenizer, wide, policy.action_statistics, policy.interface)
    with pytest.raises(InvalidSpec, match="at most 8 numbers .max_action_dim., got statistics of 9"):
        Pi0Policy(policy.model, policy.tokenizer, policy.state_statistics, wide, policy.interface)


def test_weights_of_another_choice_of_what_is_trained_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="must be those of trainable='expert', got others"):
        random_pi0(trainable="expert").load_state_dict(random_pi0().state_dict())
