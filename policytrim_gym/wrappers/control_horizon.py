"""The wrapper in which a learner decides how much of a policy's chunk runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import RecordConstructorArgs

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidChunk, InvalidSpec
from policytrim_gym.horizon_observation import HorizonObservation, ObservationLayout
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import HorizonChoice, HorizonMenu, ReplanContext, play_at_rate
from policytrim_gym.spec import PolicySpec
from policytrim_gym.wrappers.chunk_runner import ChunkRunner, SuccessFunction, time_limit
from policytrim_gym.wrappers.trim_reward import TrimReward, TrimRewardHistory, TrimRewardMeter, as_trim_reward


class ControlHorizon(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Lets any learner for discrete actions choose how much of a policy's current chunk runs before the policy is asked again.

    The policy keeps its weights. An action is a number of the `menu`: a horizon, or with several playback rates a horizon and a rate
    (`unpack_action` tells which). Unlike `ExecuteChunk`, whose action is the chunk itself, the wrapper calls the policy: once in `reset`
    and once after each step, since the observation holds the chunk that would run next. After a terminal step there is none to run and
    the chunk reads zero. After a truncation, which is there without a trim reward only, it is predicted for the sake of a value function,
    and counts neither in `num_replans` nor in the recorded `inference_s`.

    A learner discounts once a CALL, and a call is as long as its horizon: with gamma below 1 it would be paid for calling less often by
    the discount alone. So give it gamma = 1; episodes are a handful of calls long.

    With a trim reward, running out of time terminates the episode instead of truncating it: it has failed and is worth 0, and a learner
    would add the value that its critic hopes for.

    `info["chunk"]` is that of `ExecuteChunk`; at a playback rate above 1, `execute_horizon` counts the actions of the chunk that were
    played and `executed_steps` the steps that they took. The attribute `inference_times_s` holds how long each prediction of the episode
    took [s], in order; it is not in the info of a step, which must repeat exactly under the same seed. `RecordChunkStatistics` sums it up.

    Args:
        env: environment with a one-dimensional Box action space; observation a one-dimensional Box (`state` to the policy) or a flat Dict.
        policy: what predicts the chunks, or its URI. A live policy is shared, never copied; a spec holds it by reference; only a URI can
            go into another process or into JSON.
        horizons: strictly increasing, each in 1..chunk_size [steps].
        reward: trim reward paid at the episode's end, or None for the environment's own, discounted within a call.
        observation: "dict" for SB3's "MultiInputPolicy"; "features", "summary" or "flat" for "MlpPolicy"; see `HorizonObservation`.
        gamma: discount of each physical step, in [0, 1], when `reward` is None.
        stop_on_success: end the episode at the first success, for environments that go on after it.
        success: function from an info to bool; None takes `info["is_success"]`, else `info["success"]`.
        max_episode_steps: time limit that the progress refers to [steps]; None takes the environment's, else 1000.
        playback_rates: strictly increasing, each at least 1; needs `action_kinds` in the policy's spec above 1.
        instructions: that the controller shall tell apart; needed where one environment has several tasks.

    Raises:
        InvalidSpec: policy and environment do not fit, or rates that cannot be played.
        InvalidHorizon, InvalidConfig: an argument out of range.

    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.spec import PolicySpec
    >>> spec = PolicySpec(chunk_size=8, action_dim=1, action_kinds=("position",))
    >>> policy = CallablePolicy(lambda observation: np.zeros((8, 1)), spec)
    >>> env = ControlHorizon(gym.make("Pendulum-v1"), policy, horizons=(2, 4, 8), playback_rates=(1.0, 2.0))
    >>> observation, _ = env.reset(seed=0)
    >>> sorted(observation), env.action_space
    (['chunk', 'chunk_summary', 'progress', 'state'], Discrete(6))
    >>> env.unpack_action(3), env.step(3)[-1]["chunk"]["executed_steps"]
    (HorizonChoice(execute_horizon=4, playback_rate=2.0), 2)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        policy: ChunkPolicy | str,
        horizons: Sequence[int],
        reward: TrimReward | Mapping[str, Any] | None = TrimReward(),  # noqa: B008 - frozen
        observation: ObservationLayout = "dict",
        gamma: float = 1.0,
        stop_on_success: bool = False,
        success: SuccessFunction | None = None,
        max_episode_steps: int | None = None,
        playback_rates: Sequence[float] = (1.0,),
        instructions: Sequence[str] = (),
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
            playback_rates=tuple(playback_rates),
            instructions=tuple(instructions),
        )
        gym.Wrapper.__init__(self, env)
        self.policy = resolve_policy(policy)
        spec = self.policy.spec
        self.chunk_size = spec.chunk_size
        self.menu = HorizonMenu(horizons, playback_rates, spec)
        self._runner = ChunkRunner(env, spec.chunk_size, gamma, stop_on_success, success)
        if env.action_space.shape != (spec.action_dim,):
            raise InvalidSpec(f"the policy gives actions of {spec.action_dim} numbers, but the environment takes {env.action_space.shape}")
        self._meter = None if reward is None else TrimRewardMeter(TrimRewardHistory(as_trim_reward(reward)))
        self._layout = HorizonObservation(
            env.observation_space, (spec.chunk_size, spec.action_dim), observation, self.menu.horizons, instructions
        )
        self._limit = time_limit(env, max_episode_steps)
        self.observation_space = self._layout.space
        self.action_space = Discrete(len(self.menu))
        self._context: ReplanContext | None = None  # None: no episode is under way
        self.inference_times_s: list[float] = []
        self._instruction: str | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode and predicts its first chunk."""
        self._context = None
        self.inference_times_s = []
        observation, info = self.env.reset(seed=seed, options=options)
        self.policy.reset(seed)
        self._runner.start_episode()
        if self._meter is not None:
            self._meter.start_episode(info)
        self._instruction = info.get("instruction", getattr(self.env.unwrapped, "instruction", None))
        self._context = self._replan(observation, None, 0)
        return self._layout.build(self._context), info

    def step(self, action: int | np.integer[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Runs what the action stands for, fewer actions where the episode ends, and predicts the next chunk.

        Raises:
            InvalidHorizon: an action outside 0..len(menu) - 1; nothing has run then.
            gymnasium.error.ResetNeeded: before `reset`, or after the episode's end.
        """
        if self._context is None or self._context.chunk is None:
            raise gym.error.ResetNeeded("the episode has not begun or has ended: call reset before step")
        choice = self.unpack_action(action)
        chunk, self._context = self._context.chunk, None
        space = self.env.action_space
        assert isinstance(space, Box)
        window = play_at_rate(chunk.actions[: choice.execute_horizon], choice.playback_rate, self.policy.spec, space.low, space.high)
        observation, reward, terminated, truncated, info = self._runner.run(window.astype(space.dtype), *choice)
        if self._meter is not None:
            reward = self._meter.step(info["chunk"], terminated or truncated)
            terminated, truncated = terminated or truncated, False
        self._instruction = info.get("instruction", self._instruction)
        context = self._replan(observation, chunk, choice.execute_horizon, ask=not terminated)
        if not (terminated or truncated):
            self._context = context
        return self._layout.build(context), reward, terminated, truncated, info

    @property
    def observation_layout(self) -> HorizonObservation:
        """What builds the observations; a learned selector builds them in the same way."""
        return self._layout

    def unpack_action(self, action: int | np.integer[Any]) -> HorizonChoice:
        """Returns the horizon and the playback rate that an action stands for; raises InvalidHorizon for another action."""
        return self.menu.unpack(action)

    def _replan(self, observation: Any, previous: ActionChunk | None, consumed_steps: int, ask: bool = True) -> ReplanContext:
        """Asks the policy, and returns everything that the next choice may depend on."""
        features = self._layout.features(observation, self._instruction)
        chunk = self._predict(features) if ask else None
        return ReplanContext(features, chunk, previous, consumed_steps, min(1.0, self._runner.steps / self._limit))

    def _predict(self, features: Mapping[str, Any]) -> ActionChunk:
        started_s = time.perf_counter()
        chunk = self.policy.predict_action_chunk(features)
        self.inference_times_s.append(time.perf_counter() - started_s)
        check_chunk(chunk, self.policy.spec)
        return chunk


def check_chunk(chunk: ActionChunk, spec: PolicySpec) -> None:
    """Raises InvalidChunk when a policy's chunk has another shape than its spec promises."""
    if chunk.actions.shape != (spec.chunk_size, spec.action_dim):
        raise InvalidChunk(f"the policy's spec promises chunks of {(spec.chunk_size, spec.action_dim)}, got {chunk.actions.shape}")


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


def resolve_policy(policy: ChunkPolicy | PolicyReference | str) -> ChunkPolicy:
    """Returns the live policy that is meant; raises InvalidSpec for anything but a ChunkPolicy, a reference to one or a URI."""
    if isinstance(policy, PolicyReference):
        policy = policy.policy
    if isinstance(policy, str):
        # Policies stand above wrappers; only a URI needs them, at run time.
        from policytrim_gym.policies.loading import load_policy

        policy = load_policy(policy)
    if not isinstance(policy, ChunkPolicy):
        raise InvalidSpec(f"policy must be a ChunkPolicy or a URI, got {type(policy).__name__}")
    return policy
