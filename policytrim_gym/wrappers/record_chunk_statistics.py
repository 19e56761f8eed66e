"""The wrapper that says at the end of an episode what it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.wrappers.chunk_runner import require_chunks


class RolloutMeter:
    """Counts one environment's episodes and says at their end what they cost.

    Nothing after the first success counts.

    >>> meter = RolloutMeter()
    >>> meter.start_episode({"task": "reach"})
    >>> meter.step({"executed_steps": 3, "steps_to_success": 2, "chunk_size": 4})
    >>> rollout = meter.rollout(inference_times_s=[0.1])
    >>> rollout["steps"], rollout["chunk_utilization"], rollout["inference_s"], rollout["task"]
    (2, 0.5, 0.1, 'reach')
    """

    def __init__(self) -> None:
        self.start_episode({})

    def start_episode(self, info: Mapping[str, Any], past_s: float = 0.0) -> None:
        """Forgets the past episode and starts the clock.

        Args:
            info: of `reset`.
            past_s: how long ago the episode's time began [s].
        """
        self._task, self._initial_state = info.get("task"), info.get("initial_state")
        self._executed: list[int] = []
        self._wall_clock_s = 0.0
        self._success = False
        self._start_s = time.perf_counter() - past_s

    def step(self, chunk: Mapping[str, Any]) -> None:
        """Takes the `info["chunk"]` of a call that has just ended."""
        if self._success:
            return
        executed, to_success = chunk["executed_steps"], chunk["steps_to_success"]
        if to_success:
            self._success = True
            executed = to_success - sum(self._executed)
        self._executed.append(executed)
        self._chunk_size = chunk["chunk_size"]
        self._wall_clock_s = time.perf_counter() - self._start_s

    def rollout(self, inference_times_s: Sequence[float] | None) -> dict[str, Any]:
        """Returns the fields of the episode's `RolloutRecord` that are not None.

        Args:
            inference_times_s: duration of each prediction of the episode, in order [s]; those of chunks that never ran are left out.
        """
        record = RolloutRecord.from_windows(
            self._success,
            self._executed,
            self._chunk_size,
            wall_clock_s=self._wall_clock_s,
            inference_s=None if inference_times_s is None else sum(inference_times_s[: len(self._executed)]),
            task=self._task,
            initial_state=self._initial_state,
        )
        return {key: value for key, value in vars(record).items() if value is not None}


class RecordChunkStatistics(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds `info["rollout"]` when an episode ends: success, steps, inference calls and time.

    It goes around `ExecuteChunk` or `ControlHorizon` and holds the fields of `RolloutRecord`; those that are None are left out. Nothing
    after the first success counts, also where the environment goes on after it, so that `steps` is always the sum of `executed_steps`.
    `wall_clock_s` starts when the environment is reset and includes what the caller does between two calls; who calls the policy adds
    `inference_s`, as is done here for `ControlHorizon`. Unlike `gymnasium.wrappers.RecordEpisodeStatistics`, it counts physical steps
    and calls apart.

    Args:
        env: environment whose info holds `info["chunk"]`.

    Raises:
        InvalidConfig: no chunk wrapper inside.

    >>> from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
    >>> env = RecordChunkStatistics(ExecuteChunk(gym.make("Pendulum-v1", max_episode_steps=10), chunk_size=4))
    >>> _ = env.reset(seed=0)
    >>> for _ in range(3):
    ...     _, _, _, truncated, info = env.step(env.action_space.sample())
    >>> truncated, info["rollout"]["steps"], info["rollout"]["num_replans"], info["rollout"]["executed_steps"]
    (True, 10, 3, (4, 4, 2))
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        require_chunks(self)
        # ControlHorizon calls the policy itself, the first time inside reset.
        self._has_inference = env.has_wrapper_attr("inference_times_s")
        self._meter = RolloutMeter()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode and its clock."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._meter.start_episode(info, sum(self._inference_times_s() or ()))
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps, counts, and adds the record to the info that ends the episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._meter.step(info["chunk"])
        if terminated or truncated:
            info["rollout"] = self._meter.rollout(self._inference_times_s())
        return observation, reward, terminated, truncated, info

    def _inference_times_s(self) -> list[float] | None:
        return self.env.get_wrapper_attr("inference_times_s") if self._has_inference else None
