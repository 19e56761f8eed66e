"""Small policies for the tests of training and evaluation."""

from __future__ import annotations

import numpy as np

from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer

KINDS = ("delta", "delta", "position")


def small_state_policy(seed: int = 0, **changes) -> StatePolicy:
    """Returns a StatePolicy of chunk size 6 with random weights: state (5,), actions (3,)."""
    sizes = {"state_size": 5, "action_dim": 3, "chunk_size": 6, "execute_horizon": 4, "hidden_size": 16, "num_layers": 2}
    config = StatePolicyConfig(**{**sizes, "action_kinds": KINDS, "control_dt_s": 0.1, **changes})
    policy = StatePolicy(config, WordTokenizer.from_texts(["open the door", "push the puck"]), seed)
    policy.set_normalisation(np.linspace(-1, 1, config.state_size), np.linspace(0.5, 2, config.state_size))
    return policy


def target_policy(seed: int = 0, **changes) -> StatePolicy:
    """Returns an untrained StatePolicy for two joint targets [rad], which continue the last numbers of the state, and a gripper."""
    policy = small_state_policy(seed, **{"action_kinds": ("position",) * 3, "action_origins": (3, 4, None), **changes})
    policy.set_action_scale([0.05, 0.02, 1.0])
    return policy


def metaworld_policy(seed: int = 0, **changes) -> StatePolicy:
    """Returns an untrained StatePolicy that fits Meta-World's state and actions."""
    kinds = ("delta", "delta", "delta", "position")
    return small_state_policy(seed, **{"state_size": 39, "action_dim": 4, "action_kinds": kinds, **changes})


def small_observation(index: int, size: int = 5) -> dict:
    """Returns an observation that `small_state_policy` accepts, another one for each index."""
    state = np.random.default_rng(index).normal(size=size).astype(np.float32)
    return {"state": state, "instruction": ("open the door", "push the puck", "unheard words")[index % 3]}
