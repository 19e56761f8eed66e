"""The vector wrapper in which a learner decides how much of each chunk runs, with one policy call for all environments."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.horizon_observation import HorizonObservation, ObservationLayout
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import HorizonChoice, HorizonMenu, ReplanContext, play_at_rate
from policytrim_gym.wrappers.chunk_runner import check_time_limit
from policytrim_gym.wrappers.control_horizon import check_chunk, resolve_policy
from policytrim_gym.wrappers.execute_chunk import ChunkWindow, ExecuteChunk
from policytrim_gym.wrappers.record_chunk_statistics import RolloutMeter
from policytrim_gym.wrappers.trim_reward import TrimReward, TrimRewardHistory, TrimRewardMeter, as_trim_reward


class VecControlHorizon(VecEnvWrapper):
    """Lets a learner of Stable-Baselines3 choose every environment's horizon, and asks the policy once for all of them.

    It goes around a `VecEnv` of environments in `ExecuteChunk` and shows what a `DummyVecEnv` of `ControlHorizon` shows: the same
    observations, rewards, dones, infos and actions. Unlike there, `predict_action_chunks` is called exactly once a step and once in
    `reset`, with everything that a chunk is wanted for: the next observation of each environment, and the last one of those that ran out
    of time. The policy lives in this process only, so a `SubprocVecEnv` of environments needs no copy of it. It is reset in `reset`, with
    the first environment's seed, and not where one environment begins a new episode among others that go on.

    All environments share one history of the trim reward, so that an episode is compared with those of its neighbours, too.

    `info["rollout"]`, when an episode ends, is that of `RecordChunkStatistics`; an environment's `inference_s` is its share of the batched
    calls. `VecMonitor` goes around this wrapper. The discount of a physical step,
    `stop_on_success` and `success` are arguments of `ExecuteChunk`.

    Args:
        venv: environments in `ExecuteChunk`; its chunk size is the policy's.
        policy: what predicts the chunks, or its URI.
        horizons: strictly increasing, each in 1..chunk_size [steps].
        reward: trim reward paid at the episode's end, or None for the environments' own.
        observation: "dict", "features", "summary" or "flat"; see `HorizonObservation`.
        max_episode_steps: time limit that the progress refers to [steps]; None takes each environment's, else 1000.
        playback_rates: strictly increasing, each at least 1; needs `action_kinds` in the policy's spec above 1.
        instructions: that the controller shall tell apart.

    Raises:
        InvalidSpec: policy and environments do not fit, or rates that cannot be played.
        InvalidHorizon, InvalidConfig: an argument out of range, or environments without `ExecuteChunk`.

    >>> from stable_baselines3.common.vec_env import DummyVecEnv
    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.spec import PolicySpec
    >>> policy = CallablePolicy(lambda observation: np.zeros((8, 1)), PolicySpec(chunk_size=8, action_dim=1))
    >>> venv = DummyVecEnv([lambda: ExecuteChunk(gym.make("Pendulum-v1"), chunk_size=8)] * 2)
    >>> venv = VecControlHorizon(venv, policy, horizons=(2, 8), observation="flat")
    >>> venv.reset().shape
    (2, 12)
    >>> [info["chunk"]["executed_steps"] for info in venv.step(np.array([0, 1]))[-1]]
    [2, 8]
    """

    def __init__(
        self,
        venv: VecEnv,
        policy: ChunkPolicy | str,
        horizons: Sequence[int],
        reward: TrimReward | Mapping[str, Any] | None = TrimReward(),  # noqa: B008 - frozen
        observation: ObservationLayout = "dict",
        max_episode_steps: int | None = None,
        playback_rates: Sequence[float] = (1.0,),
        instructions: Sequence[str] = (),
    ) -> None:
        self.policy = resolve_policy(policy)
        spec = self.policy.spec
        self.menu = HorizonMenu(horizons, playback_rates, spec)
        chunk_shape = (spec.chunk_size, spec.action_dim)
        if not all(venv.env_is_wrapped(ExecuteChunk)):
            raise InvalidConfig("VecControlHorizon must go around a VecEnv whose environments are in ExecuteChunk")
        if venv.action_space.shape != chunk_shape:
            raise InvalidSpec(
                f"the policy gives chunks of shape {chunk_shape} (chunk_size, action_dim), the environments take {venv.action_space.shape}"
            )
        assert isinstance(venv.action_space, Box)
        self._action_low, self._action_high = venv.action_space.low[0], venv.action_space.high[0]
        self._layout = HorizonObservation(venv.observation_space, chunk_shape, observation, self.menu.horizons, instructions)
        limit = check_time_limit(max_episode_steps)
        limits = [limit] * venv.num_envs if limit is not None else venv.get_attr("time_limit_steps")
        history = None if reward is None else TrimRewardHistory(as_trim_reward(reward))
        self._episodes = [_Episode(each, None if history is None else TrimRewardMeter(history)) for each in limits]
        # An environment in another process must not be asked for what it lacks: the question would end the process.
        self._has_instruction = venv.has_attr("instruction")
        self._contexts: list[ReplanContext] = []  # empty: nothing is under way
        self._policy_seed: int | None = None
        super().__init__(venv, self._layout.space, Discrete(len(self.menu)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds the environments' next reset, and the policy by the first of these seeds."""
        seeds = self.venv.seed(seed)
        self._policy_seed = seeds[0]
        return seeds

    def reset(self) -> VecEnvObs:
        """Starts an episode in every environment and predicts all first chunks."""
        self._contexts = []
        observations = self.venv.reset()
        self.policy.reset(self._policy_seed)
        self._policy_seed = None
        self._start_episodes(range(self.num_envs))
        self._replan(observations, ())
        return self._observations()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Sends each environment the actions that its choice stands for.

        Args:
            actions: numbers of the menu, (num_envs,).

        Raises:
            InvalidHorizon: another number of actions, or one outside 0..len(menu) - 1; nothing has run then.
            gymnasium.error.ResetNeeded: before `reset`.
        """
        if np.shape(actions) != (self.num_envs,):
            raise InvalidHorizon(f"actions must be one for each of {self.num_envs} environments, got shape {np.shape(actions)}")
        choices = [self.menu.unpack(action) for action in actions]
        if not self._contexts:
            raise gym.error.ResetNeeded("no episode has begun: call reset before step")
        contexts, self._contexts = self._contexts, []
        windows = []
        for episode, context, choice in zip(self._episodes, contexts, choices):
            chunk = context.chunk
            assert chunk is not None  # a new episode has begun where one ended
            episode.previous_chunk, episode.consumed_steps = chunk, choice.execute_horizon
            windows.append(self._window(chunk, choice))
        self.venv.step_async(windows)  # type: ignore[arg-type] # each environment gets its element, whatever that is

    def step_wait(self) -> VecEnvStepReturn:
        """Waits for the environments and predicts all next chunks."""
        observations, rewards, dones, venv_infos = self.venv.step_wait()
        infos = [dict(info) for info in venv_infos]
        earned = [episode.count(info, bool(done)) for episode, info, done in zip(self._episodes, infos, dones)]
        rewards = np.array([own if paid is None else paid for own, paid in zip(rewards, earned)], dtype=rewards.dtype)
        ended = [int(index) for index in np.flatnonzero(dones)]
        last = {index: self._context(index, infos[index]["terminal_observation"]) for index in ended}
        for index in ended:
            if self._episodes[index].trim is not None:  # out of time is a failure, and no reason to add the critic's value
                infos[index]["TimeLimit.truncated"] = False
        truncated = [index for index in ended if infos[index].get("TimeLimit.truncated", False)]
        for index in ended:
            episode = self._episodes[index]
            infos[index]["rollout"] = episode.rollout.rollout(episode.inference_times_s)
        self._start_episodes(ended)
        last.update(zip(truncated, self._replan(observations, [last[index] for index in truncated])))
        for index, context in last.items():
            infos[index]["terminal_observation"] = self._layout.build(context)
        return self._observations(), rewards, dones, infos

    @property
    def observation_layout(self) -> HorizonObservation:
        """What builds the observations; a learned selector builds them in the same way."""
        return self._layout

    def unpack_action(self, action: int | np.integer[Any]) -> HorizonChoice:
        """Returns the horizon and the playback rate that an action stands for; raises InvalidHorizon for another action."""
        return self.menu.unpack(action)

    def _start_episodes(self, indices: Iterable[int]) -> None:
        # Between this wrapper and the environments may be others, and they do not pass the infos of a reset on.
        self.reset_infos = list(self.venv.unwrapped.reset_infos)
        for index in indices:
            info = self.reset_infos[index]
            instruction = info.get("instruction")
            if "instruction" not in info and self._has_instruction:
                instruction = self.venv.get_attr("instruction", [index])[0]
            self._episodes[index].start(info, instruction)

    def _replan(self, observations: VecEnvObs, more: Sequence[ReplanContext]) -> list[ReplanContext]:
        """Asks the policy once for every environment's next chunk; returns the contexts in `more` with what it answered for them."""
        asked = [*(self._context(index, self._observation_of(observations, index)) for index in range(self.num_envs)), *more]
        started_s = time.perf_counter()
        chunks = self.policy.predict_action_chunks([context.observation for context in asked])
        share_s = (time.perf_counter() - started_s) / len(asked)
        if len(chunks) != len(asked):
            raise InvalidChunk(f"the policy must give one chunk for each of {len(asked)} observations, got {len(chunks)}")
        for chunk in chunks:
            check_chunk(chunk, self.policy.spec)
        for episode in self._episodes:
            episode.inference_times_s.append(share_s)
        answered = [replace(context, chunk=chunk) for context, chunk in zip(asked, chunks)]
        self._contexts = answered[: self.num_envs]
        return answered[self.num_envs :]

    def _context(self, index: int, observation: Any) -> ReplanContext:
        """Returns what is known of an environment before the policy is asked."""
        episode = self._episodes[index]
        features = self._layout.features(observation, episode.instruction)
        progress = min(1.0, episode.steps / episode.time_limit_steps)
        return ReplanContext(features, None, episode.previous_chunk, episode.consumed_steps, progress)

    def _window(self, chunk: ActionChunk, choice: HorizonChoice) -> ChunkWindow:
        actions = chunk.actions[: choice.execute_horizon]
        played = play_at_rate(actions, choice.playback_rate, self.policy.spec, self._action_low, self._action_high)
        return ChunkWindow(played, *choice)

    def _observations(self) -> VecEnvObs:
        space = self.observation_space
        built = [self._layout.build(context) for context in self._contexts]
        return concatenate(space, built, create_empty_array(space, self.num_envs))  # type: ignore[arg-type] # a Box or a Dict of Boxes

    @staticmethod
    def _observation_of(observations: VecEnvObs, index: int) -> Any:
        if isinstance(observations, dict):
            return {key: values[index] for key, values in observations.items()}
        return observations[index]


@dataclass
class _Episode:
    """What one environment's episode has come to."""

    time_limit_steps: int
    trim: TrimRewardMeter | None
    rollout: RolloutMeter = field(default_factory=RolloutMeter)
    instruction: str | None = None
    previous_chunk: ActionChunk | None = None
    consumed_steps: int = 0
    steps: int = 0
    inference_times_s: list[float] = field(default_factory=list)

    def start(self, info: Mapping[str, Any], instruction: str | None) -> None:
        """Forgets the past episode; `info` is that of the reset."""
        self.rollout.start_episode(info)
        if self.trim is not None:
            self.trim.start_episode(info)
        self.instruction = instruction
        self.previous_chunk, self.consumed_steps, self.steps, self.inference_times_s = None, 0, 0, []

    def count(self, info: Mapping[str, Any], ended: bool) -> float | None:
        """Takes the info of a call; returns what it earns, None where the environment's own reward stays."""
        chunk = info["chunk"]
        self.steps += chunk["executed_steps"]
        self.instruction = info.get("instruction", self.instruction)
        self.rollout.step(chunk)
        return None if self.trim is None else self.trim.step(chunk, ended)
