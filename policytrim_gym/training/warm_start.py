"""Rewrites an untrained policy's own fast successes into its chunks, before RL starts.

RL from a slow clone spends most of its budget on rediscovering what playing the clone faster already gives. The warm start takes that
for free: the policy is rolled out at its stock horizon and several playback rates on training states, the fastest success of each state
is kept, and the policy learns to predict it as whole chunks. It is rejection sampling on the reward of stage 2, with the untrained
controls as proposals; no expert is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.policy import TrainableChunkPolicy
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.training.imitation import chunk_targets, imitate
from policytrim_gym.training.state_counts import spread_over_tasks

ALL_STATES, LEAST_STATES = 360, 60

_State = tuple[str | None, int]


@dataclass(frozen=True)
class WarmStartConfig:
    """Configuration of `warm_start`.

    Args:
        playback_rates: the policy is rolled out at its stock horizon and each of these; without known action kinds only at 1.
        states_per_task: training states of each task; None shares 360 out among the tasks, with at least 60 for each.
        max_steps: time limit of a rollout [steps]; a success that needs longer teaches no speed.
        gradient_steps, batch_size, learning_rate: of the imitation.
    """

    playback_rates: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    states_per_task: int | None = None
    max_steps: int = 300
    gradient_steps: int = 2500
    batch_size: int = 256
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.playback_rates or min(self.playback_rates) <= 0:
            raise InvalidConfig(f"playback_rates must be at least one number above 0, got {self.playback_rates}")
        if self.states_per_task is not None and self.states_per_task < 1:
            raise InvalidConfig(f"states_per_task must be at least 1, got {self.states_per_task}")
        for name in ("max_steps", "gradient_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")

    def num_states(self, evaluator: Evaluator) -> int:
        """Returns the training states of each of an evaluator's tasks."""
        return spread_over_tasks(self.states_per_task, ALL_STATES, len(evaluator.tasks), LEAST_STATES)


def warm_start(
    policy: TrainableChunkPolicy,
    evaluator: Evaluator,
    config: WarmStartConfig,
    seed: int,
    on_episode: Callable[[Rollout], None] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Trains the policy on its own fastest successes and returns what was kept.

    Args:
        policy: rolled out first, then changed.
        evaluator: whose workers and tasks are used.
        config: the settings.
        seed: of the imitation.
        on_episode, on_step: called as rollouts and gradient steps finish.

    Returns:
        `num_states`, `num_kept`, `steps_mean` of the kept rollouts, and `timesteps`, all physical steps that were run.
    """
    fastest: dict[_State, Rollout] = {}

    def keep_fastest(rollout: Rollout) -> None:
        """Lets go of the observations of every step that nothing will be learnt from; with images they would fill the memory."""
        best = fastest.get(_state_of(rollout))
        if not rollout.success or (best is not None and best.steps <= rollout.steps):
            rollout.trajectory = []
        else:
            fastest[_state_of(rollout)] = rollout
            if best is not None:
                best.trajectory = []
        if on_episode:
            on_episode(rollout)

    rollouts = _rollouts(policy, evaluator, config, keep_fastest)
    timesteps = sum(rollout.steps for rollout in rollouts)
    # In the order of the requests: that in which episodes end is up to the workers.
    kept = [fastest[state] for state in dict.fromkeys(_state_of(rollout) for rollout in rollouts if rollout.success)]
    summary: dict[str, Any] = {
        "num_states": config.num_states(evaluator) * len(evaluator.tasks),
        "num_kept": len(kept),
        "steps_mean": float(np.mean([rollout.steps for rollout in kept])) if kept else None,
        "timesteps": timesteps,
    }
    if kept:
        observations = [observation for rollout in kept for observation in rollout.trajectory]
        targets = np.concatenate([chunk_targets(rollout.actions(), policy.spec.chunk_size) for rollout in kept])
        imitate(policy, observations, targets, config.gradient_steps, config.batch_size, config.learning_rate, seed, on_step)
    return summary


def num_rollouts(policy: TrainableChunkPolicy, evaluator: Evaluator, config: WarmStartConfig) -> int:
    """Returns how many rollouts `warm_start` will ask for."""
    return len(_rates(policy, config)) * config.num_states(evaluator) * len(evaluator.tasks)


def _state_of(rollout: Rollout) -> _State:
    """Returns the task and the initial state or seed of a rollout."""
    request = rollout.request
    return request.task, request.seed if request.initial_state is None else request.initial_state


def _rates(policy: TrainableChunkPolicy, config: WarmStartConfig) -> tuple[float, ...]:
    return config.playback_rates if policy.spec.action_kinds is not None else (1.0,)


def _rollouts(
    policy: TrainableChunkPolicy,
    evaluator: Evaluator,
    config: WarmStartConfig,
    on_episode: Callable[[Rollout], None] | None,
) -> Sequence[Rollout]:
    """Returns the rollouts at every rate from the same training states."""
    rollouts: list[Rollout] = []
    for rate in _rates(policy, config):
        controller = PlaybackController(policy, rate, action_low=evaluator.action_low, action_high=evaluator.action_high)
        requests = evaluator.requests(
            policy.spec.horizon, config.num_states(evaluator), "train", seed=0, max_steps=config.max_steps, keep_trajectory=True
        )
        rollouts += evaluator.collector.collect(requests, controller, on_episode)
    return rollouts
