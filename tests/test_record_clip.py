"""What a video records of a rollout: each frame, and at each call what the policy was asked with."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.experiments.clip import record_clip
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.spec import PolicySpec


class CountingCamera(gym.Env):
    """Its images and frames are the number of steps; it draws into one buffer, and succeeds after 10 steps."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = gym.spaces.Dict(
        {key: gym.spaces.Box(0, 255, (8, 8, 3), np.uint8) for key in ("image_front", "image_wrist")}
        | {"state": gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)}
    )

    def __init__(self) -> None:
        self._buffer = np.zeros((8, 8, 3), dtype=np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self._buffer[:] = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._buffer += 1
        return self._observation(), 0.0, False, False, {"is_success": bool(self._buffer[0, 0, 0] == 10)}

    def render_frame(self) -> np.ndarray:
        return self._buffer.copy()

    def _observation(self) -> dict[str, Any]:
        return {"image_front": self._buffer, "image_wrist": self._buffer, "state": np.zeros(1, dtype=np.float32)}


def policy(**shapes: tuple[int, ...]) -> CallablePolicy:
    return CallablePolicy(lambda observation: np.zeros((6, 1)), PolicySpec(6, 1, observation_shapes=shapes))


def test_each_call_holds_what_the_policy_was_asked_with() -> None:
    clip = record_clip("base", policy(), EnvFactory(CountingCamera), EpisodeRequest(4))
    assert [(call.step, call.chunk_size, call.execute_horizon) for call in clip.calls] == [(0, 6, 4), (4, 6, 4), (8, 6, 4)]
    assert [{camera: int(image.max()) for camera, image in call.images.items()} for call in clip.calls] == [
        {"front": step, "wrist": step} for step in (0, 4, 8)
    ]
    assert [int(frame.max()) for frame in clip.frames] == list(range(1, 11)) and clip.num_steps == 10


@pytest.mark.parametrize(
    ("shapes", "cameras"), [({"state": (1,)}, []), ({"state": (1,), "image_wrist": (8, 8, 3)}, ["wrist"]), ({}, ["front", "wrist"])]
)
def test_only_what_the_policy_sees_is_shown(shapes: dict[str, tuple[int, ...]], cameras: list[str]) -> None:
    clip = record_clip("base", policy(**shapes), EnvFactory(CountingCamera), EpisodeRequest(6))
    assert all(list(call.images) == cameras for call in clip.calls)


def test_an_environment_that_draws_nothing_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="CartPole-v1 draws no frames"):
        record_clip("base", policy(), EnvFactory("CartPole-v1"), EpisodeRequest(4))
