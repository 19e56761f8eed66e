"""Noise that belongs to an observation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from policytrim_gym.policy import Observation


def observation_generator(observation: Observation, image_keys: Sequence[str], seed: int) -> torch.Generator:
    """Returns the source of noise of one prediction, so that it depends neither on the order of questions nor on how many there are.

    Args:
        observation: with `instruction`, `state` and the images.
        image_keys: of the images.
        seed: of the policy.
    """
    digest = hashlib.blake2b(f"{seed} {observation['instruction']}".encode(), digest_size=8)
    digest.update(np.asarray(observation["state"], dtype=np.float32).tobytes())
    for key in image_keys:
        digest.update(np.ascontiguousarray(observation[key]).tobytes())
    return torch.Generator().manual_seed(int.from_bytes(digest.digest()[:7], "little"))
