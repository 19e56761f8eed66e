"""The process that holds environments and runs whole windows of actions in them."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from policytrim_gym.errors import PolicyTrimError
from policytrim_gym.metrics import is_success
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.episode import WindowResult
from policytrim_gym.rollouts.motion import measure_motion
from policytrim_gym.wrappers.lazy_step import lazy_step


class EnvSlot:
    """One environment that runs windows of actions; the same code serves a worker process and the caller's own.

    Actions are clipped to a Box action space, as SB3 does before it steps: noise may carry a sampled one beyond the bounds, which some
    environments refuse. NaN stays NaN, for the environment to refuse.
    """

    def __init__(self, factory: EnvFactory) -> None:
        self.env: gym.Env[Any, Any] = factory()
        space = self.env.action_space
        self._bounds = (space.low, space.high) if isinstance(space, Box) else None
        self._has_initial_states = hasattr(self.env.unwrapped, "initial_state")

    def reset(self, seed: int, options: dict[str, Any] | None) -> WindowResult:
        """Starts an episode. An environment without initial states gets the seed alone."""
        started = time.perf_counter()
        observation, info = self.env.reset(seed=seed, options=options if self._has_initial_states else None)
        self._observation = self._flat(observation, info)
        step_s = time.perf_counter() - started
        # Where no state can be chosen, the number that an info holds tells no two episodes apart.
        self._task, self._initial_state = info.get("task"), info.get("initial_state") if self._has_initial_states else None
        return WindowResult(self._observation, 0, False, False, step_s, self._task, self._initial_state)

    def run(self, actions: NDArray[np.float32], keep_trajectory: bool = False, motion: bool = False) -> WindowResult:
        """Runs actions one after another and stops exactly at the one that succeeds or ends the episode.

        Images are drawn at the last action alone, or at each one for a trajectory: see `lazy_step`.

        Args:
            actions: (n, action_dim).
            keep_trajectory, motion: what the result shall hold besides, as `keep_trajectory` and `measure_motion` of an EpisodeRequest.
        """
        started = time.perf_counter()
        if self._bounds is not None:
            actions = np.clip(actions, *self._bounds)
        executed_steps, success, done = 0, False, False
        trajectory: list[Mapping[str, Any]] = []
        for action in actions:
            if keep_trajectory:
                trajectory.append(copy.deepcopy(self._observation))  # the environment may reuse its buffers
            look = keep_trajectory or executed_steps == len(actions) - 1
            observation, _, terminated, truncated, info = lazy_step(self.env, action, look)
            executed_steps += 1
            success = is_success(info)
            done = bool(terminated or truncated or success)
            self._observation = self._flat(observation, info)
            if done:
                break
        step_s = time.perf_counter() - started
        result = WindowResult(self._observation, executed_steps, success, done, step_s, self._task, self._initial_state)
        return result._replace(trajectory=tuple(trajectory), motion=measure_motion(self.env) if motion and done else None)

    def _flat(self, observation: Any, info: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the observation as the policy wants it: a flat mapping with the instruction."""
        flat = dict(observation) if isinstance(observation, Mapping) else {"state": np.asarray(observation, dtype=np.float32)}
        instruction = info.get("instruction", getattr(self.env.unwrapped, "instruction", None))
        if instruction is not None:
            flat["instruction"] = instruction
        return flat


def serve_slots(connection: Connection, factory: EnvFactory, num_slots: int) -> None:
    """Runs in a worker process: answers ("reset" | "run", slot, *arguments) until the other side closes.

    An exception in an environment is answered as ("error", text) and ends the worker. Ctrl-C is the parent's to handle: the worker
    goes when its pipe closes, also when the parent is killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        slots: list[EnvSlot | None] = [None] * num_slots
        while True:
            command, index, *arguments = connection.recv()
            slot = slots[index] = slots[index] or EnvSlot(factory)
            connection.send((index, slot.reset(*arguments) if command == "reset" else slot.run(*arguments)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        where = "" if isinstance(error, PolicyTrimError) else f"\n{traceback.format_exc()}"  # ours say what to do
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # another worker's error has ended the parent's wait
            connection.send(("error", f"{type(error).__name__}: {error}", where))
