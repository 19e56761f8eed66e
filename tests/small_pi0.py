"""Small pi0 policies with random weights for the tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from line_env import CHUNK_SIZE, LineEnv

from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.pi0_small import SmallPi0Config, small_pi0_policy

INSTRUCTIONS = ("open the door", "push the puck")
CAMERAS = ("front", "wrist")
TINY = SmallPi0Config(hidden_size=32, num_layers=2, vision_layers=2, num_heads=2, image_size=28, patch_size=14)


def random_pi0(seed: int = 0, **interface) -> Pi0Policy:
    """Returns a pi0 of chunk size 6 with two cameras: state (3,), actions (2,), both padded to 8 as in published models."""
    settings = Pi0Interface(**{"cameras": CAMERAS, "execute_horizon": 4, "prompt_length": 8, **interface})
    random = small_pi0_policy(8, 8, INSTRUCTIONS, chunk_size=6, seed=seed, config=TINY, interface=Pi0Interface(CAMERAS))
    statistics = NormStatistics((0.1, 0.2, 0.3), (1.0, 2.0, 0.5)), NormStatistics((0.5, -0.5), (0.2, 2.0))
    return Pi0Policy(random.model, random.tokenizer, *statistics, settings)


def pi0_observation(index: int) -> dict:
    """Returns an observation that `random_pi0` accepts, another one for each index."""
    random = np.random.default_rng(index)
    images = {f"image_{camera}": random.integers(256, size=(24, 32, 3), dtype=np.uint8) for camera in CAMERAS}
    return {**images, "state": random.normal(size=3).astype(np.float32), "instruction": INSTRUCTIONS[index % 2]}


def slow_pi0(seed: int = 0) -> Pi0Policy:
    """Returns a pi0 for SeenLineEnv: random, but its actions are about 0.5, so that it moves slowly and arrives."""
    return small_pi0_policy(
        state_size=2,
        action_dim=1,
        texts=[LineEnv.instruction],
        chunk_size=CHUNK_SIZE,
        seed=seed,
        config=replace(TINY, num_inference_steps=2),
        interface=Pi0Interface(("front",), execute_horizon=2, action_kinds=("delta",), prompt_length=8),
        action_statistics=NormStatistics((0.5,), (0.05,)),
    )
