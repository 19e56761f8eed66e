"""The wrapper in which a learner decides how much of a policy's chunk runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import RecordConstructorArgs

from policytrim_gym.chunk import check_horizon
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.wrappers.chunk_runner import ChunkRunner, SuccessFunction
from policytrim_gym.wrappers.horizon_observation import HorizonObservation, ObservationLayout
from policytrim_gym.wrappers.trim_reward import TrimReward, TrimRewardMeter, as_trim_reward

FALLBACK_TIME_LIMIT_STEPS = 1000


class ControlHorizon(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Lets any learner for discrete actions choose how much of a policy's current chunk runs before the policy is asked again.

    The policy keeps its weights; action i runs `horizons[i]` actions of its chunk. Unlike `ExecuteChunk`, whose action is the chunk itself,
    the wrapper calls the policy: once in `reset` and once after each step, since the observation holds the chunk that would run next. After
    a terminal step there is none to run and the chunk reads zero; after a truncation it is predicted for the sake of a value function, and
    counts neither in `num_replans` nor in the recorded `inference_s`.

    `info["chunk"]` is that of `ExecuteChunk`. The attribute `inference_times_s` holds how long each prediction of the episode took [s], in
    order; it is not in the info of a step, which must repeat exactly under the same seed. `RecordChunkStatistics` sums it up.

    Args:
        env: environment with a one-dimensional Box action space; observation a one-dimensional Box (`state` to the policy) or a flat Dict.
        policy: what predicts the chunks, or its URI. A live policy is shared, never copied; a spec holds it by reference; only a URI can
            go into another process or into JSON.
        horizons: what the actions mean, each in 1..chunk_size, without repeats [steps].
        reward: trim reward paid at the episode's end, or None for the environment's own, discounted within a call.
        observation: "flat" (one Box) or "dict"; see `HorizonObservation`.
        gamma: discount of each physical step, in [0, 1], when `reward` is None.
        stop_on_success: end the episode at the first success, for environments that go on after it.
        success: function from an info to bool; None takes `info["is_success"]`, else `info["success"]`.
        max_episode_steps: time limit that the progress refers to [steps]; None takes the environment's, else 1000.

    Raises:
        InvalidSpec: policy and environment do not fit.
        InvalidHorizon, InvalidConfig: an argument out of range.

    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.spec import PolicySpec
    >>> policy = CallablePolicy(lambda observation: np.zeros((8, 1)), PolicySpec(chunk_size=8, action_dim=1))
    >>> env = ControlHorizon(gym.make("Pendulum-v1"), policy, horizons=(2, 4, 8))
    >>> observation, _ = env.reset(seed=0)
    >>> observation.shape, env.action_space
    ((12,), Discrete(3))
    >>> env.step(1)[-1]["chunk"]["executed_steps"]
    4
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        policy: ChunkPolicy | str,
        horizons: Sequence[int],
        reward: TrimReward | Mapping[str, Any] | None = TrimReward(),  # noqa: B008 - frozen
        observation: ObservationLayout = "flat",
        gamma: float = 1.0,
        stop_on_success: bool = False,
        success: SuccessFunction | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,
            policy=policy if isinstance(policy, (str, PolicyReference)) else PolicyReference(policy),
            horizons=tuple(horizons),
            reward=reward,
            observation=observation,
            gamma=gamma,
            stop_on_success=stop_on_success,
            success=success,
            max_episode_steps=max_episode_steps,
        )
        gym.Wrapper.__init__(self, env)
        self.policy = _resolved(policy)
        spec = self.policy.spec
        self.chunk_size = spec.chunk_size
        self.horizons = tuple(check_horizon(horizon, spec.chunk_size, "each of horizons") for horizon in horizons)
        if not self.horizons or len(set(self.horizons)) < len(self.horizons):
            raise InvalidHorizon(f"horizons must be at least one number, without repeats, got {self.horizons}")
        self._runner = ChunkRunner(env, spec.chunk_size, gamma, stop_on_success, success)
        if env.action_space.shape != (spec.action_dim,):
            raise InvalidSpec(f"the policy gives actions of {spec.action_dim} numbers, but the environment takes {env.action_space.shape}")
        self._meter = None if reward is None else TrimRewardMeter(as_trim_reward(reward))
        self._layout = HorizonObservation(env.observation_space, (spec.chunk_size, spec.action_dim), observation)
        self._limit = max_episode_steps or (env.spec and env.spec.max_episode_steps) or FALLBACK_TIME_LIMIT_STEPS
        if self._limit < 1:
            raise InvalidConfig(f"max_episode_steps must be at least 1 or None, got {max_episode_steps}")
        self.observation_space = self._layout.space
        self.action_space = Discrete(len(self.horizons))
        self._actions: np.ndarray[Any, np.dtype[np.float32]] | None = None
        self.inference_times_s: list[float] = []
        self._instruction: str | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode and predicts its first chunk."""
        self._actions = None
        self.inference_times_s = []
        observation, info = self.env.reset(seed=seed, options=options)
        self.policy.reset(seed)
        self._runner.start_episode()
        if self._meter is not None:
            self._meter.start_episode(info)
        self._instruction = info.get("instruction", getattr(self.env.unwrapped, "instruction", None))
        self._predict(observation)
        return self._observe(observation), info

    def step(self, action: int | np.integer[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Runs `horizons[action]` actions of the current chunk, fewer where the episode ends, and predicts the next chunk.

        Raises:
            InvalidHorizon: an action outside 0..len(horizons) - 1; nothing has run then.
            gymnasium.error.ResetNeeded: before `reset`, or after the episode's end.
        """
        if self._actions is None:
            raise gym.error.ResetNeeded("the episode has not begun or has ended: call reset before step")
        if not self.action_space.contains(np.asarray(action)[()]):
            raise InvalidHorizon(f"action must be an integer in 0..{len(self.horizons) - 1}, an index of horizons, got {action!r}")
        actions, self._actions = self._actions.astype(self.env.action_space.dtype), None
        observation, reward, terminated, truncated, info = self._runner.run(actions, self.horizons[int(action)])
        if self._meter is not None:
            reward = self._meter.step(info["chunk"], terminated or truncated)
        if not terminated:
            self._instruction = info.get("instruction", self._instruction)
            self._predict(observation)
        built = self._observe(observation)
        if terminated or truncated:
            self._actions = None
        return built, reward, terminated, truncated, info

    def _predict(self, observation: Any) -> None:
        features = dict(self._layout.features(observation))
        if self._instruction is not None:
            features["instruction"] = self._instruction
        started_s = time.perf_counter()
        actions = self.policy.predict_action_chunk(features).actions
        self.inference_times_s.append(time.perf_counter() - started_s)
        spec = self.policy.spec
        if actions.shape != (spec.chunk_size, spec.action_dim):
            raise InvalidChunk(f"the policy's spec promises chunks of {(spec.chunk_size, spec.action_dim)}, got {actions.shape}")
        self._actions = actions

    def _observe(self, observation: Any) -> Any:
        spec = self.policy.spec
        actions = np.zeros((spec.chunk_size, spec.action_dim), np.float32) if self._actions is None else self._actions.copy()
        return self._layout.build(observation, actions, min(1.0, self._runner.steps / self._limit))


class PolicyReference:
    """Holds a live policy inside an environment spec: deep-copying the spec keeps the one policy, and pickling it is refused.

    >>> import copy
    >>> reference = PolicyReference(object())
    >>> copy.deepcopy({"policy": reference})["policy"] is reference
    True
    """

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def __deepcopy__(self, memo: dict[int, Any]) -> PolicyReference:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PolicyReference) and other.policy is self.policy

    def __hash__(self) -> int:
        return id(self.policy)

    def __reduce__(self) -> NoReturn:
        raise InvalidSpec("a live policy cannot leave its process inside an environment spec: give ControlHorizon the policy's URI instead")


def _resolved(policy: ChunkPolicy | PolicyReference | str) -> ChunkPolicy:
    if isinstance(policy, PolicyReference):
        policy = policy.policy
    if isinstance(policy, str):
        # Policies stand above wrappers; only a URI needs them, at run time.
        from policytrim_gym.policies.loading import load_policy

        policy = load_policy(policy)
    if not isinstance(policy, ChunkPolicy):
        raise InvalidSpec(f"policy must be a ChunkPolicy or a URI, got {type(policy).__name__}")
    return policy
