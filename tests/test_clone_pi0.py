"""Laws of cloning from images: a small pi0 from the arm's expert."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from small_pi0 import TINY

pytest.importorskip("transformers")
pytest.importorskip("mujoco")

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.pi0_small import SmallPi0Config
from policytrim_gym.policies.vector_transforms import normalize_z_score
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.expert_episode import ExpertRunner
from policytrim_gym.training.base_policies import MODELS
from policytrim_gym.training.clone import clone
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.demonstrations import Demonstration, DemonstrationSet

ARM = EnvFactory("PolicyTrim/Arm-v0", {"task": "reach", "observation": "pixels", "image_size": 32, "action": "tool_delta"})
CONFIG = CloneConfig(demonstrator="full-speed", chunk_size=4, execute_horizon=2, gradient_steps=2, batch_size=8, model="pi0", pi0=TINY)


@pytest.fixture(scope="module")
def demonstration() -> Demonstration:
    runner = ExpertRunner(ARM, "full-speed", seed=0)
    episode = runner.run("reach", "train", 0, keep_images=True)
    runner.env.close()
    return Demonstration("reach", episode.instruction, episode.states, episode.actions, episode.images)


def test_a_demonstration_holds_what_a_policy_would_have_seen(demonstration: Demonstration) -> None:
    env = ARM()
    observation, info = env.reset(options={"task": "reach", "split": "train", "initial_state": 0})
    seen = demonstration.observations()
    for step in (0, 1, 2):
        assert set(seen[step]) == {*observation, "instruction"} and seen[step]["instruction"] == info["instruction"]
        for key, value in observation.items():
            np.testing.assert_array_equal(seen[step][key], value)
        observation = env.step(demonstration.actions[step])[0]
    env.close()


def test_images_are_held_once(demonstration: Demonstration) -> None:
    for observation in demonstration.observations():
        for key, frames in demonstration.images.items():
            assert observation[key].base is frames and observation[key].dtype == np.uint8


def test_an_expert_that_nobody_looks_at_draws_its_start_and_its_end() -> None:
    runner = ExpertRunner(ARM, "full-speed", seed=0)
    engine = runner.env.unwrapped.engine
    draw, drawn = engine.render, []

    def counted(camera: str, width: int, height: int) -> np.ndarray:
        drawn.append(camera)
        return draw(camera, width, height)

    engine.render = counted
    episode = runner.run("reach", "train", 0)
    assert len(drawn) == 4 and episode.images == {} and len(episode.states) > 4  # two cameras
    watched = runner.run("reach", "train", 0, keep_images=True)
    assert len(drawn) == 4 + 2 * (len(watched.states) + 1)
    np.testing.assert_array_equal(watched.states, episode.states)
    np.testing.assert_array_equal(watched.actions, episode.actions)
    runner.env.close()


def test_a_cloned_pi0_has_the_sizes_and_statistics_of_its_demonstrations(demonstration: Demonstration, tmp_path: Path) -> None:
    policy = clone(DemonstrationSet("full-speed", (demonstration,), {"reach": 0}), CONFIG, ("delta",) * 7, 0.05, action_range=[0.2] * 7)
    policy.save_pretrained(str(tmp_path))
    loaded = load_policy(str(tmp_path))
    assert loaded.spec == policy.spec
    assert (loaded.spec.chunk_size, loaded.spec.action_dim, loaded.spec.horizon) == (4, demonstration.actions.shape[1], 2)
    assert list(loaded.spec.observation_shapes) == [*demonstration.images, "state"]
    normalised = normalize_z_score(demonstration.actions, loaded.action_statistics)
    moving = demonstration.actions.std(axis=0) > 0.001 * 0.2
    assert moving.any() and not moving.all()  # a dimension that never moves is not blown up
    np.testing.assert_allclose(normalised.std(axis=0)[moving], 1.0, rtol=0.01)
    assert normalised.std(axis=0)[~moving].max() < 1.0
    np.testing.assert_allclose(normalize_z_score(demonstration.states, loaded.state_statistics).mean(axis=0), 0.0, atol=1e-3)
    observation = demonstration.observations()[0]
    chunks = [each.predict_action_chunk(observation).actions for each in (loaded, policy)]
    np.testing.assert_array_equal(*chunks)


def test_every_model_of_the_config_can_be_built() -> None:
    assert set(MODELS) == set(get_args(get_type_hints(CloneConfig)["model"]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_inference_steps": 1}, "num_inference_steps must be at least 2, got 1"),
        ({"hidden_size": 100, "num_heads": 4}, r"hidden_size must be a multiple of twice num_heads \(4\), got 100"),
        ({"image_size": 65}, r"image_size must be a multiple of patch_size \(8\), got 65"),
        ({"patch_size": 8.0}, "patch_size must be an integer, got 8.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(values: dict, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        SmallPi0Config(**values)
