"""The wrapper that makes an action chunk the action of an environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.chunk import ActionChunk, check_horizon
from policytrim_gym.errors import InvalidChunk
from policytrim_gym.wrappers.chunk_runner import ChunkRunner, SuccessFunction, time_limit


@dataclass(frozen=True, eq=False)
class ChunkWindow:
    """What shall run of a chunk: an action of `ExecuteChunk` for a caller who chooses horizon and playback rate call by call.

    Args:
        actions: to run one after another, (n, action_dim); n is below execute_horizon where they were resampled.
        execute_horizon: how many actions of the chunk they play, n..chunk_size [steps].
        playback_rate: at which they play, for the record.

    >>> env = ExecuteChunk(gym.make("Pendulum-v1"), chunk_size=4)
    >>> _ = env.reset(seed=0)
    >>> env.step(ChunkWindow(np.zeros((2, 1)), execute_horizon=3, playback_rate=1.5))[-1]["chunk"]["executed_steps"]
    2
    """

    actions: NDArray[Any]
    execute_horizon: int
    playback_rate: float = 1.0


class ExecuteChunk(gym.Wrapper[Any, NDArray[Any], Any, NDArray[Any]], RecordConstructorArgs):
    """Takes a whole chunk as one action and runs its first `execute_horizon` actions.

    It stops exactly at the action that ends the episode. Nothing is kept between two calls, so that a new episode never runs an old
    tail. Unlike frame skipping, every action of a call differs; unlike a chunk cache in the policy, the environment decides where a
    chunk ends. One call is one inference of the policy.

    The reward is the sum of gamma^k r_k over the actions that ran. A learner outside discounts once a CALL: give the discount of a
    physical step here and pay attention to which of the two a reported gamma means.

    `info` is the last step's, with `info["chunk"]`:

    - `executed_steps`: actions that ran in this call.
    - `execute_horizon`, `chunk_size`: as set for this episode; `playback_rate`: 1 here, `ControlHorizon` may choose another.
    - `rewards`: reward of each action, (chunk_size,), NaN for those that did not run.
    - `steps_to_success`: physical steps of the episode until the first success, 1-based; 0 while there was none.

    Success is sticky: once an action of the episode reached it, `info["is_success"]` stays True to its end, also when the environment's
    own flag falls back in mid-chunk. An environment that never speaks of success gets no such key.

    Args:
        env: environment with a one-dimensional Box action space.
        chunk_size: H, actions in one chunk [steps].
        execute_horizon: h, actions to run in one call, 1..chunk_size [steps]; None runs them all. `reset(options={"execute_horizon": h})`
            sets it for one episode; the key does not reach `env`.
        gamma: discount of each physical step, in [0, 1].
        stop_on_success: end the episode (terminated) at the first success, for environments that go on after it.
        success: function from an info to bool; None takes `info["is_success"]`, else `info["success"]`.

    Raises:
        InvalidSpec: another action space.
        InvalidConfig, InvalidHorizon: an argument out of range.

    >>> env = ExecuteChunk(gym.make("Pendulum-v1"), chunk_size=4, execute_horizon=3)
    >>> _ = env.reset(seed=0)
    >>> _, _, _, _, info = env.step(np.zeros((4, 1)))
    >>> info["chunk"]["executed_steps"], np.isnan(info["chunk"]["rewards"]).tolist()
    (3, [False, False, False, True])
    """

    def __init__(
        self,
        env: gym.Env[Any, NDArray[Any]],
        chunk_size: int,
        execute_horizon: int | None = None,
        gamma: float = 1.0,
        stop_on_success: bool = False,
        success: SuccessFunction | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            chunk_size=chunk_size,
            execute_horizon=execute_horizon,
            gamma=gamma,
            stop_on_success=stop_on_success,
            success=success,
        )
        gym.Wrapper.__init__(self, env)
        self._runner = ChunkRunner(env, chunk_size, gamma, stop_on_success, success)
        self.chunk_size = int(chunk_size)
        self._default_horizon = self.chunk_size if execute_horizon is None else check_horizon(execute_horizon, self.chunk_size)
        self.execute_horizon = self._default_horizon
        single = env.action_space
        assert isinstance(single, Box)
        tiled = (self.chunk_size, 1)
        self.action_space = Box(np.tile(single.low, tiled), np.tile(single.high, tiled), dtype=single.dtype.type)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; `options["execute_horizon"]` sets its horizon and raises InvalidHorizon before anything is reset."""
        horizon = self._default_horizon
        if options is not None and "execute_horizon" in options:
            options = dict(options)
            horizon = check_horizon(options.pop("execute_horizon"), self.chunk_size)
        observation, info = self.env.reset(seed=seed, options=options or None)
        self.execute_horizon = horizon
        self._runner.start_episode()
        return observation, info

    @property
    def time_limit_steps(self) -> int:
        """Time limit of the environment, 1000 where it names none; a vector of environments asks for it across processes [steps]."""
        return time_limit(self.env, None)

    def step(self, action: ArrayLike | ChunkWindow) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Runs the chunk's first actions.

        Args:
            action: a chunk, (chunk_size, action_dim), or a `ChunkWindow` that brings its own horizon. Values outside the action space
                are the environment's to cut.

        Raises:
            InvalidChunk: another shape, or not finite; no action has run then.
            InvalidHorizon: a window's horizon is outside 1..chunk_size.
        """
        if isinstance(action, ChunkWindow):
            return self._run_window(action)
        shape = self.action_space.shape
        got = ActionChunk(action).actions.shape  # type: ignore[arg-type]
        if got != shape:
            raise InvalidChunk(f"an action must be a chunk of shape {shape} (chunk_size, action_dim), got {got}")
        return self._runner.run(np.array(action, dtype=self.action_space.dtype), self.execute_horizon)

    def _run_window(self, window: ChunkWindow) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        horizon = check_horizon(window.execute_horizon, self.chunk_size)
        length, action_dim = ActionChunk(window.actions).actions.shape
        if length > horizon or (self.chunk_size, action_dim) != self.action_space.shape:
            expected = f"1..{horizon} (execute_horizon) actions of a chunk of shape {self.action_space.shape} (chunk_size, action_dim)"
            raise InvalidChunk(f"a window must hold {expected}, got {(length, action_dim)}")
        return self._runner.run(np.array(window.actions, dtype=self.action_space.dtype), horizon, window.playback_rate)
