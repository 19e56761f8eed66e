"""A tiny VLA with random weights for the arm's cameras, and, for a `python:` URI, a policy that keeps its first question."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from policytrim_gym.envs.arm.tasks import CAMERAS, GOALS, TASKS
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.tiny_vla.building import random_tiny_vla
from policytrim_gym.policy import CallablePolicy
from tests.small_arm_policies import DT_S, POSITIONS, ROBOT

IMAGE_SIZE = 64
CHECKPOINT, FIRST = "TEST_CHECKPOINT", "TEST_FIRST_QUESTION"
"""Environment variables of `remembering_policy`: a checkpoint folder, and the file for its first question."""


def save_small_arm_vla(folder: Path, task: str = "push") -> Path:
    """Writes the checkpoint of a policy that sees both cameras and moves the joints a little; returns its folder."""
    config = {
        "cameras": tuple(camera.name for camera in CAMERAS),
        "image_size": IMAGE_SIZE,
        "state_size": ROBOT.dof + 5,
        "action_dim": ROBOT.dof + 1,
        "chunk_size": 16,
        "execute_horizon": 12,
        "action_kinds": POSITIONS,
        "action_origins": (*range(ROBOT.dof), None),
        "control_dt_s": DT_S,
        "image_channels": 4,
        "hidden_size": 32,
        "instruction_size": 8,
    }
    policy = random_tiny_vla([TASKS[task].instruction(goal) for goal in GOALS], **config)
    policy.set_action_scale([0.02] * ROBOT.dof + [1.0])
    policy.save_pretrained(str(folder))
    kwargs = {"task": task, "observation": "pixels", "image_size": IMAGE_SIZE}
    CheckpointFacts(12, "PolicyTrim/Arm-v0", kwargs, control_dt_s=DT_S, chunk_size=16).save(folder)
    return folder


def remembering_policy() -> CallablePolicy:
    """The policy of CHECKPOINT, which writes the observation of its first question to FIRST."""
    policy, file = load_policy(os.environ[CHECKPOINT]), Path(os.environ[FIRST])

    def chunk(observation):
        if not file.exists():
            np.savez(file, **observation)
        return policy.predict_action_chunk(observation).actions

    return CallablePolicy(chunk, policy.spec)
