"""The environments in which a horizon controller trains: on training states, with one policy call for all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor

from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.horizon_config import HorizonTrainingConfig
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.trim_reward import TrimReward
from policytrim_gym.wrappers.vec_control_horizon import VecControlHorizon


class DrawTrainingStates(gym.Wrapper[Any, Any, Any, Any]):
    """Lets every episode begin from a state of the training split, whatever the environment's own default is.

    SB3 resets an environment without options. An environment that knows no initial states is left as it is.

    >>> env = DrawTrainingStates(gym.make("Pendulum-v1"))
    >>> env.reset(seed=0)[0].shape
    (3,)
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; an option of the caller's wins."""
        if hasattr(self.env.unwrapped, "initial_state"):
            options = {"split": "train", **(options or {})}
        return self.env.reset(seed=seed, options=options)


def make_training_envs(policy: ChunkPolicy, factory: EnvFactory, config: HorizonTrainingConfig, reward: TrimReward) -> VecEnv:
    """Returns `n_envs` environments whose action is a choice of the horizon, with `VecMonitor`'s episode statistics.

    Args:
        policy: asked in this process, once a step for all environments.
        factory: of one environment; with `subprocesses` it is sent to other processes.
        config: of the training.
        reward: paid at the end of each episode.
    """
    make: list[Callable[[], gym.Env[Any, Any]]] = [partial(_make_env, factory, policy.spec.chunk_size)] * config.n_envs
    # A fork of a process with torch's threads can hang.
    venv: VecEnv = SubprocVecEnv(make, start_method="spawn") if config.subprocesses else DummyVecEnv(make)
    control = VecControlHorizon(
        venv,
        policy,
        config.horizons,
        reward,
        config.observation,
        playback_rates=config.playback_rates,
        instructions=instructions_of(factory),
    )
    return VecMonitor(control)


def instructions_of(factory: EnvFactory) -> tuple[str, ...]:
    """Returns the instructions that a controller must tell apart: those of an environment with several tasks, else none."""
    probe = factory()
    instructions = tuple(getattr(probe.unwrapped, "instructions", ()))
    probe.close()
    return instructions if len(instructions) > 1 else ()


def _make_env(factory: EnvFactory, chunk_size: int) -> gym.Env[Any, Any]:
    return ExecuteChunk(DrawTrainingStates(factory()), chunk_size, stop_on_success=True)
