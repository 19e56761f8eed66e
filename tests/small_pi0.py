"""Small pi0 policies with random weights for the tests."""

from __future__ import annotations

import numpy as np

from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.pi0_small import small_pi0_policy

INSTRUCTIONS = ("open the door", "push the puck")
CAMERAS = ("front", "wrist")


def random_pi0(seed: int = 0, **interface) -> Pi0Policy:
    """Returns a pi0 of chunk size 6 with two cameras: state (3,), actions (2,)."""
    settings = Pi0Interface(**{"cameras": CAMERAS, "execute_horizon": 4, "prompt_length": 8, **interface})
    random = small_pi0_policy(3, 2, INSTRUCTIONS, chunk_size=6, seed=seed, interface=Pi0Interface(CAMERAS))
    statistics = NormStatistics((0.1, 0.2, 0.3), (1.0, 2.0, 0.5)), NormStatistics((0.5, -0.5), (0.2, 2.0))
    return Pi0Policy(random.model, random.tokenizer, *statistics, settings)


def pi0_observation(index: int) -> dict:
    """Returns an observation that `random_pi0` accepts, another one for each index."""
    random = np.random.default_rng(index)
    images = {f"image_{camera}": random.integers(256, size=(24, 32, 3), dtype=np.uint8) for camera in CAMERAS}
    return {**images, "state": random.normal(size=3).astype(np.float32), "instruction": INSTRUCTIONS[index % 2]}
