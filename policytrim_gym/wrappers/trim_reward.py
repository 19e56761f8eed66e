"""The trim rewards as one number for each episode, and the wrapper that pays it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from policytrim_gym.config import check_fields, from_mapping
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.rewards import PenaltyMode, call_saving_reward, horizon_reward, stability_penalty, step_saving_reward
from policytrim_gym.wrappers.chunk_runner import require_chunks

Base = float | dict[str, float] | Literal["running"] | None
"""A base value for all tasks, one for each task, or `BASE_FACTOR` times the running mean of the successes so far."""

BASE_FACTOR = 1.3
"""The base is so many times the mean, as in the paper: slower episodes than the mean still learn from their steps."""


@dataclass(frozen=True)
class TrimReward:
    """What one episode is worth: 1[success] * (1 + horizon reward + step saving + call saving - stability penalty).

    The terms are those of `policytrim_gym.rewards`. Without `base_steps` there is no step saving and no penalty, which is stage 1; with it
    and beta = 0 it is stage 2. Unknown names and wrong types are refused.

    Args:
        beta: weight of the execute horizon.
        kappa: weight of saved steps.
        lam: weight of the stability penalty.
        base_steps: S_base, about 1.3 x the mean steps of the policy before the trim [steps]: a number, a number for each task (as
            `info["task"]` of `reset` names it), or "running": 1.3 x the mean over the successes so far from the same task and initial
            state, or from the same task as long as that state has none. None leaves out saving and penalty.
        sigma_floor: smallest spread that counts [steps].
        mode: "floor" (paper) or "gate" (reference code) in tight groups.
        one_sided: penalise only episodes faster than the mean.
        group_size: episodes that the penalty compares: the present one and the latest successes before it.
        kappa_calls: weight of saved calls; ours.
        base_calls: N_base, as `base_steps`; None leaves the term out.

    Raises:
        InvalidConfig: a wrong type or a value out of range.

    >>> TrimReward().episode_return(success=True, steps=90, execute_horizon=16, chunk_size=32)
    1.5
    >>> TrimReward(beta=0.0, base_steps=140).episode_return(True, 70, 16, 32)
    1.4
    >>> TrimReward(bta=0.5)
    Traceback (most recent call last):
    ...
    TypeError: TrimReward.__init__() got an unexpected keyword argument 'bta'
    """

    beta: float = 1.0
    kappa: float = 0.8
    lam: float = 0.2
    base_steps: Base = None
    sigma_floor: float = 5.0
    mode: PenaltyMode = "floor"
    one_sided: bool = False
    group_size: int = 8
    kappa_calls: float = 0.8
    base_calls: Base = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.group_size < 1:
            raise InvalidConfig(f"group_size must be at least 1, got {self.group_size}")
        # The reward functions hold the ranges of all other fields.
        horizon_reward(True, 1, 1, self.beta)
        for base in _numbers(self.base_steps):
            step_saving_reward(True, 1, base, self.kappa)
        for base in _numbers(self.base_calls):
            call_saving_reward(True, 1, base, self.kappa_calls)
        stability_penalty([True], [1], self.lam, self.sigma_floor, self.mode)

    def episode_return(
        self,
        success: bool,
        steps: int,
        execute_horizon: float,
        chunk_size: int,
        recent_steps: Sequence[int] = (),
        num_replans: int = 1,
        base_steps: float | None = None,
        base_calls: float | None = None,
    ) -> float:
        """Returns the reward of one episode.

        Args:
            success: whether the task was done.
            steps: S, physical steps to the first success [steps].
            execute_horizon: h, or its mean over the calls of the episode [steps].
            chunk_size: H [steps].
            recent_steps: S of earlier successes from the same task and initial state; the penalty's group, with this episode [steps].
            num_replans: N, calls to the first success.
            base_steps, base_calls: those of this episode's task; None takes the config's, where it is a number.
        """
        if not success:
            return 0.0
        value = 1.0 + horizon_reward(True, execute_horizon, chunk_size, self.beta)
        base_steps = _number_or_none(self.base_steps) if base_steps is None else base_steps
        base_calls = _number_or_none(self.base_calls) if base_calls is None else base_calls
        if base_steps is not None:
            group = np.array([*recent_steps, steps], dtype=np.float64)
            penalties = stability_penalty(np.ones(len(group), bool), group, self.lam, self.sigma_floor, self.mode, self.one_sided)
            value += step_saving_reward(True, steps, base_steps, self.kappa) - penalties[-1]
        if base_calls is not None:
            value += call_saving_reward(True, num_replans, base_calls, self.kappa_calls)
        return float(value)


class TrimRewardHistory:
    """What earlier successes took, by task and initial state: the anchors of the trim reward.

    Copies of an environment in one process may share one; each process has its own.

    >>> history = TrimRewardHistory(TrimReward(base_steps="running"))
    >>> history.record(("reach", 0), steps=100, num_replans=4)
    >>> history.base(("reach", 0), "steps"), history.base(("reach", 7), "steps"), history.base(("push", 0), "steps")
    (130.0, 130.0, None)
    """

    def __init__(self, reward: TrimReward) -> None:
        self.reward = reward
        self._recent: defaultdict[Hashable, deque[int]] = defaultdict(lambda: deque(maxlen=reward.group_size - 1))
        self._sums: defaultdict[Hashable, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))  # successes, their steps, their calls

    def recent_steps(self, key: tuple[Any, Any]) -> list[int]:
        """Returns the latest successes' steps from the same task and initial state, at most group_size - 1."""
        return list(self._recent[key])

    def base(self, key: tuple[Any, Any], noun: Literal["steps", "calls"]) -> float | None:
        """Returns S_base or N_base of an episode; None when the reward has none, or nothing is known of its task yet.

        Raises:
            InvalidConfig: the reward names bases for tasks, and not for this one.
        """
        base: Base = getattr(self.reward, f"base_{noun}")
        if isinstance(base, dict):
            if str(key[0]) not in base:
                raise InvalidConfig(f'base_{noun} has no entry for the task "{key[0]}", it has {sorted(base)}')
            return base[str(key[0])]
        if base != "running":
            return base
        sums = self._sums[key] if self._sums[key][0] else self._sums[key[0]]
        return float(BASE_FACTOR * sums[1 if noun == "steps" else 2] / sums[0]) if sums[0] else None

    def record(self, key: tuple[Any, Any], steps: int, num_replans: int) -> None:
        """Takes a success."""
        self._recent[key].append(steps)
        for each in (key, key[0]):
            self._sums[each] += (1, steps, num_replans)


class TrimRewardMeter:
    """Counts one environment's episodes and says what each step of the wrapper earns.

    A group of one environment comes one after the other. So the group of an episode is the episode itself and the latest
    `group_size - 1` successes from the same task and initial state, known by `task` and `initial_state` in the info of `reset` (all
    episodes are one group where the info holds neither).

    Args:
        history: what earlier episodes took; give several meters the same one to share it.
    """

    def __init__(self, history: TrimRewardHistory) -> None:
        self._history = history
        self.start_episode({})

    def start_episode(self, info: Mapping[str, Any]) -> None:
        """Forgets the unfinished episode; what earlier ones took is kept."""
        self._key = (info.get("task"), info.get("initial_state"))
        self._horizons: list[int] = []
        self._success = False

    def step(self, chunk: Mapping[str, Any], ended: bool) -> float:
        """Returns the reward of a call from its `info["chunk"]`: 0 until the episode ends, then the episode's return.

        What happens after the first success does not count.
        """
        if not self._success:
            self._horizons.append(chunk["execute_horizon"])
            self._success = chunk["steps_to_success"] > 0
        if not ended or not self._success:
            return 0.0
        history, steps, num_replans = self._history, chunk["steps_to_success"], len(self._horizons)
        value = history.reward.episode_return(
            True,
            steps,
            float(np.mean(self._horizons)),
            chunk["chunk_size"],
            history.recent_steps(self._key),
            num_replans,
            history.base(self._key, "steps"),
            history.base(self._key, "calls"),
        )
        history.record(self._key, steps, num_replans)
        return value


class ApplyTrimReward(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Replaces the environment's reward by the trim reward, paid in the call that ends the episode.

    It goes around `ExecuteChunk` or `ControlHorizon`. Every other call earns 0; a failed episode earns 0. The execute horizon of the
    reward is the mean over the calls of the episode, up to the first success. `TrimRewardMeter` says what the group of an episode is.

    Args:
        env: environment whose info holds `info["chunk"]`.
        reward: the config, or a mapping of its fields (as a spec read from JSON has it).

    Raises:
        InvalidConfig: no chunk wrapper inside, or an unknown or wrong field.

    >>> from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
    >>> env = ExecuteChunk(gym.make("Pendulum-v1"), chunk_size=4, stop_on_success=True, success=lambda info: True)
    >>> env = ApplyTrimReward(env, TrimReward(beta=0.5))
    >>> _ = env.reset(seed=0)
    >>> env.step(env.action_space.sample())[1:3]
    (1.5, True)
    """

    def __init__(self, env: gym.Env[Any, Any], reward: TrimReward | Mapping[str, Any]) -> None:
        RecordConstructorArgs.__init__(self, reward=reward)
        gym.Wrapper.__init__(self, env)
        require_chunks(self)
        self._meter = TrimRewardMeter(TrimRewardHistory(as_trim_reward(reward)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; what earlier episodes took is kept for the stability penalty."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._meter.start_episode(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps and replaces the reward; the environment's own rewards stay in `info["chunk"]["rewards"]`."""
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, self._meter.step(info["chunk"], terminated or truncated), terminated, truncated, info


def as_trim_reward(reward: TrimReward | Mapping[str, Any]) -> TrimReward:
    """Returns the config itself, or the one that a mapping describes."""
    if isinstance(reward, TrimReward):
        return reward
    return from_mapping(TrimReward, reward)


def _numbers(base: Base) -> Iterable[float]:
    """Returns the numbers that a base names; 1 where it names none, so that the weights are checked all the same."""
    return base.values() if isinstance(base, dict) else [1.0 if base is None or base == "running" else float(base)]


def _number_or_none(base: Base) -> float | None:
    return base if isinstance(base, float) else None
