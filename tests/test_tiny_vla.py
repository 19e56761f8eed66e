"""Laws of the tiny VLA as a policy, with both heads."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from small_tiny_vla import CAMERAS, INSTRUCTIONS, SIZE, TwoGoalsScene, small_tiny_vla, tiny_vla_observation

from policytrim_gym.errors import InvalidConfig, InvalidSpec, MissingObservation
from policytrim_gym.policies.flow_sde import denoising_time, euler_step
from policytrim_gym.policies.observation_noise import observation_generator
from policytrim_gym.policies.tiny_vla.building import random_tiny_vla
from policytrim_gym.policies.tiny_vla.inputs import UnknownWords, shift_images
from policytrim_gym.policies.tiny_vla.policy import TinyVLAPolicy
from policytrim_gym.testing import ChunkPolicyContract
from policytrim_gym.training.grpo_update import GRPOUpdater
from policytrim_gym.training.imitation import imitate
from policytrim_gym.training.trim_config import TrimConfig

HEADS = ("gaussian", "flow")
OBSERVATIONS = [tiny_vla_observation(index) for index in range(5)]
IMAGE_KEYS = [f"image_{camera}" for camera in CAMERAS]


class TestGaussianContract(ChunkPolicyContract):
    head = "gaussian"

    def make_policy(self) -> TinyVLAPolicy:
        return small_tiny_vla(self.head)

    def make_observation(self, index: int) -> dict:
        return tiny_vla_observation(index)


class TestFlowContract(TestGaussianContract):
    head = "flow"


def sample(policy: TinyVLAPolicy, seed: int = 0) -> list:
    return policy.sample_chunks(OBSERVATIONS, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("head", HEADS)
def test_a_chunk_depends_on_no_one_else(head: str) -> None:
    policy = small_tiny_vla(head)
    alone = [policy.predict_action_chunk(observation).actions for observation in OBSERVATIONS]
    for chunk, expected in zip(policy.predict_action_chunks(OBSERVATIONS[::-1])[::-1], alone):
        np.testing.assert_array_equal(chunk.actions, expected)


def test_a_flow_starts_from_noise_of_its_seed_and_observation() -> None:
    policy = small_tiny_vla("flow")
    first = policy.predict_action_chunk(OBSERVATIONS[0]).actions
    policy.reset(seed=1)
    assert not np.array_equal(policy.predict_action_chunk(OBSERVATIONS[0]).actions, first)
    policy.reset(seed=0)
    np.testing.assert_array_equal(policy.predict_action_chunk(OBSERVATIONS[0]).actions, first)


def test_the_prediction_of_a_flow_is_its_euler_integral() -> None:
    policy = small_tiny_vla("flow", batch_block=5)
    inputs = policy.encode(OBSERVATIONS)
    x = policy.model.head.draw([observation_generator(observation, IMAGE_KEYS, 0) for observation in OBSERVATIONS])
    with torch.no_grad():
        features = policy.model(*inputs)
        for step in range(4):
            x = euler_step(x, policy.model.head(features, x, torch.full((5,), denoising_time(step, 4))), 4)
    expected = policy._increments.to_actions(x, inputs.state).numpy()
    np.testing.assert_allclose(np.stack([chunk.actions for chunk in policy.predict_action_chunks(OBSERVATIONS)]), expected, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_every_part_of_the_observation_reaches_the_likelihood(head: str) -> None:
    policy = small_tiny_vla(head)
    [sampled] = policy.sample_chunks(OBSERVATIONS[:1], torch.Generator().manual_seed(0))
    for key, value in OBSERVATIONS[1].items():
        changed = {**OBSERVATIONS[0], key: value}
        assert not np.allclose(policy.evaluate_chunks([changed], [sampled.trace])[0].detach(), sampled.log_probs, atol=1e-6), key


@pytest.mark.parametrize("head", HEADS)
def test_the_likelihood_of_an_executed_prefix_does_not_know_the_tail(head: str) -> None:
    policy = small_tiny_vla(head)
    [sampled] = policy.sample_chunks(OBSERVATIONS[:1], torch.Generator().manual_seed(0))
    other_tail = sampled.trace.increments.clone()
    other_tail[3:] += 1.0
    log_probs = policy.evaluate_chunks(OBSERVATIONS[:1], [sampled.trace._replace(increments=other_tail)])[0][0].detach().numpy()
    np.testing.assert_allclose(log_probs[:3], sampled.log_probs[:3], atol=1e-4)
    assert (np.abs(log_probs[3:] - sampled.log_probs[3:]) > 1.0).all()


@pytest.mark.parametrize("head", HEADS)
def test_samples_are_the_actions_that_their_increments_mean(head: str) -> None:
    policy = small_tiny_vla(head)
    for observation, sampled in zip(OBSERVATIONS, sample(policy)):
        increments = sampled.trace.increments.numpy()
        np.testing.assert_allclose(sampled.actions[:, 0], observation["state"][1] + 0.5 * increments[:, 0].cumsum(), atol=1e-5)
        np.testing.assert_allclose(sampled.actions[:, 1], increments[:, 1], atol=1e-6)


def test_the_learned_spread_is_where_the_demonstrations_differ() -> None:
    policy = small_tiny_vla("gaussian")
    random = np.random.default_rng(0)
    targets = random.normal(size=(64, 6, 2)).astype(np.float32) * np.linspace(0.1, 1.0, 6, dtype=np.float32)[:, None]
    observations = [OBSERVATIONS[0]] * 64
    targets[..., 0] = observations[0]["state"][1] + targets[..., 0].cumsum(axis=1)
    imitate(policy, observations, targets, gradient_steps=800, batch_size=32, learning_rate=2e-2, seed=0)
    spread = policy.model.head.relative_spread
    assert float(spread.mean()) == pytest.approx(1.0, abs=0.1)
    assert (spread[-1] > 3 * spread[0]).all()
    [sampled] = policy.sample_chunks(OBSERVATIONS[:1], torch.Generator().manual_seed(0))
    assert sampled.trace.spread[-1, 1] > 3 * sampled.trace.spread[0, 1]


@pytest.mark.parametrize("head", HEADS)
def test_one_update_makes_the_better_half_likelier(head: str) -> None:
    policy = small_tiny_vla(head)
    samples = sample(policy)
    rollouts: list[Any] = [
        SimpleNamespace(observations=[observation], windows=[SimpleNamespace(record=sampled)], executed_steps=[3], steps=3)
        for observation, sampled in zip(OBSERVATIONS[:4], samples)
    ]

    def log_likelihoods() -> np.ndarray:
        log_probs, _ = policy.evaluate_chunks(OBSERVATIONS[:4], [sampled.trace for sampled in samples[:4]])
        return log_probs.detach().numpy()[:, :3].sum(axis=1)

    before = log_likelihoods()
    advantages = np.array([1.0, -1.0, 1.0, -1.0])
    assert GRPOUpdater(policy, replace(TrimConfig(), learning_rate=1e-3)).update(rollouts, advantages, seed=0) is not None
    change = log_likelihoods() - before
    assert change[advantages > 0].mean() > 0 > change[advantages < 0].mean()


def test_training_the_head_leaves_the_image_encoder_as_it_is() -> None:
    policy = small_tiny_vla("gaussian", trainable="head")
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    targets = np.zeros((5, 6, 2), np.float32)
    imitate(policy, OBSERVATIONS, targets, gradient_steps=1, batch_size=5, learning_rate=1e-2, seed=0)
    for name, value in policy.state_dict().items():
        learns = not name.startswith("encoder.images.") and "state_" not in name and name != "action_scale"
        assert torch.equal(value, before[name]) != learns, name


def test_a_shift_moves_all_cameras_of_an_observation_alike() -> None:
    images = torch.arange(2 * 2 * 8 * 8).view(2, 2, 8, 8, 1).expand(-1, -1, -1, -1, 3)
    shifted = shift_images(images, 2, torch.Generator().manual_seed(0))
    assert shifted.shape == images.shape
    for original, moved in zip(images, shifted):
        down, right = divmod(int(moved[0, 4, 4, 0] - original[0, 4, 4, 0]), 8)
        right, down = (right - 8, down + 1) if right > 4 else (right, down)
        assert abs(down) <= 2 and abs(right) <= 2
        assert torch.equal(moved[:, 2:6, 2:6], original[:, 2 + down : 6 + down, 2 + right : 6 + right])
    assert torch.equal(shift_images(images, 0, torch.Generator()), images)


@pytest.mark.parametrize("head", HEADS)
def test_the_instruction_decides_which_of_two_goals_is_reached(head: str) -> None:
    chunk_size, instructions = 4, tuple(TwoGoalsScene.colours)
    policy = random_tiny_vla(
        instructions,
        image_size=SIZE,
        state_size=2,
        action_dim=2,
        chunk_size=chunk_size,
        execute_horizon=2,
        head=head,
        image_channels=8,
        hidden_size=128,
        shift_pixels=0,
    )
    observations, targets = [], []
    random = np.random.default_rng(0)
    for seed in range(600):
        scene = TwoGoalsScene(seed, instructions[seed % 2])
        scene.point = random.uniform(-0.8, 0.8, 2)
        observations.append(scene.observe())
        targets.append(scene.wanted(chunk_size))
    imitate(policy, observations, np.stack(targets), gradient_steps=700, batch_size=64, learning_rate=2e-3, seed=0)
    reached = {instruction: [_drive(policy, 10_000 + seed, instruction) for seed in range(20)] for instruction in instructions}
    for instruction, goals in reached.items():
        assert goals.count(instruction) >= 15, (instruction, goals)


@pytest.mark.parametrize("head", ["gaussian", "flow"])
def test_how_an_instruction_is_spelled_does_not_matter(head: str) -> None:
    policy = small_tiny_vla(head)
    plain, *others = [
        policy.predict_action_chunk({**tiny_vla_observation(0), "instruction": text}).actions
        for text in ("open the door", "Open  the door.", "open, the door!")
    ]
    for other in others:
        np.testing.assert_array_equal(other, plain)
    with pytest.warns(UnknownWords, match=r"'open the fridge.' has words that the policy was not cloned with: \['fridge'\]"):
        policy.predict_action_chunk({**tiny_vla_observation(0), "instruction": "open the fridge."})


def _drive(policy: TinyVLAPolicy, seed: int, instruction: str) -> str | None:
    """Returns the instruction whose goal is reached first within 30 steps."""
    scene = TwoGoalsScene(seed, instruction)
    for _ in range(15):
        for action in policy.predict_action_chunk(scene.observe()).actions[:2]:
            scene.step(action)
            if scene.reached():
                return scene.reached()
    return None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_front": np.zeros((48, 64, 3), np.uint8)}, r"image_front.* must have shape \(32, 32, 3\), got \(48, 64, 3\)"),
        ({"image_front": np.zeros((SIZE, SIZE, 3), np.float32)}, r"image_front.* must be uint8 in 0..255, got float32"),
        ({"image_wrist": None}, "lacks the key .image_wrist"),
        ({"instruction": ""}, r"must have 1 to 4 tokens \(prompt_length\), got 0: ''"),
        ({"instruction": "open the door and push the puck"}, "must have 1 to 4 tokens .*got 7: 'open the door"),
        ({"state": np.array([0.0, np.nan, 0.0], np.float32)}, "state.* must be finite, got nan"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(changes: dict, words: str) -> None:
    observation = {key: value for key, value in {**OBSERVATIONS[0], **changes}.items() if value is not None}
    with pytest.raises(MissingObservation, match=words):
        small_tiny_vla("gaussian").predict_action_chunk(observation)


@pytest.mark.parametrize(
    ("head", "values", "words"),
    [
        ("gaussian", {"noise": 0.5}, r"has action_std and gain_std, got \['noise'\]"),
        ("gaussian", {"action_std": 0.0}, "action_std must be above 0"),
        ("flow", {"action_std": 0.1}, r"must have both noise .* and gain_std, got \['action_std'\]"),
        ("flow", {"noise": float("nan"), "gain_std": 0.0}, "noise must be above 0, got nan"),
    ],
)
def test_exploration_of_the_other_head_is_refused(head: str, values: dict, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        small_tiny_vla(head).set_exploration(**values)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cameras": ()}, r"cameras must be at least one name, each once, got \(\)"),
        ({"image_size": 16}, "image_size must be an integer of at least 32, got 16"),
        ({"num_inference_steps": 1}, "num_inference_steps must be an integer of at least 2, got 1"),
        ({"head": "diffusion"}, "head must be one of .*, got 'diffusion'"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(config: dict, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        random_tiny_vla(INSTRUCTIONS, **config)


def test_the_tokenizer_must_be_the_models() -> None:
    policy = small_tiny_vla("gaussian")
    other = random_tiny_vla(["lift"]).tokenizer
    with pytest.raises(InvalidSpec, match=r"must have the model's 8 tokens \(vocab_size\), got 4"):
        TinyVLAPolicy(policy.model, other)


def test_weights_of_the_other_head_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="must be those of this policy: Missing key.*head.inputs"):
        small_tiny_vla("flow").load_state_dict(small_tiny_vla("gaussian").state_dict())
