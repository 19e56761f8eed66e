"""What each stage of a trim asks of a group: its windows, its returns, its advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.advantages import group_advantages, window_advantages
from policytrim_gym.chunk import check_horizon
from policytrim_gym.rewards import stage1_returns, stage2_returns
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.training.state_counts import spread_over_tasks
from policytrim_gym.training.trim_config import TrimConfig


def stage1_windows(config: TrimConfig, stock_horizon: int, chunk_size: int) -> tuple[int, ...]:
    """Returns the execute horizons among which stage 1 ends in a choice: the configured ones, or stock, the middle and chunk_size.

    >>> stage1_windows(TrimConfig(), stock_horizon=5, chunk_size=15)
    (5, 10, 15)
    """
    if config.windows is not None:
        return tuple(check_horizon(window, chunk_size, "windows (null fits any chunk)") for window in config.windows)
    return tuple(sorted({stock_horizon, (stock_horizon + chunk_size) // 2, chunk_size}))


def stage1_rollout_windows(config: TrimConfig, windows: tuple[int, ...]) -> tuple[int, ...]:
    """Returns those of stage 1's windows that its training rollouts run.

    Among mixed windows an advantage says also which window a rollout had; at one window only whether the whole chunk succeeded.

    >>> stage1_rollout_windows(TrimConfig(stage1_rollouts="longest"), (5, 10, 15))
    (15,)
    """
    return windows if config.stage1_rollouts == "mixed" else (max(windows),)


LEAST_GROUPS = 4
"""In an iteration: the gradient of fewer is mostly noise."""


def group_requests(
    tasks: Sequence[str | None],
    split_states: int | None,
    windows: Sequence[int],
    step_limits: Mapping[str | None, int],
    config: TrimConfig,
    key: Sequence[int],
) -> list[EpisodeRequest]:
    """Returns the rollouts of one iteration: for every task groups_per_task groups of group_size, each from one training state.

    The windows go round-robin through a group from a random phase, constant for each rollout.

    Args:
        tasks: every task gets its groups.
        split_states: number of training states, or None for environments without initial states (then a group shares its seed).
        windows: execute horizons.
        step_limits: of each task's rollouts [steps].
        config: sizes.
        key: seeds the draw; the iteration is part of it, so that a resumed run draws the same.
    """
    random = np.random.default_rng(np.random.SeedSequence(list(key)))
    requests = []
    groups_per_task = spread_over_tasks(config.groups_per_task, LEAST_GROUPS, len(tasks), 1)
    for group, task in enumerate(task for task in tasks for _ in range(groups_per_task)):
        state = int(random.integers(split_states)) if split_states is not None else None
        phase = int(random.integers(len(windows)))
        noise = random.integers(2**31, size=config.group_size)
        group_seed = int(random.integers(2**31))
        requests += [
            EpisodeRequest(
                windows[(member + phase) % len(windows)],
                task=task,
                split=None if state is None else "train",
                initial_state=state,
                seed=group_seed,
                noise_seed=int(noise[member]),
                group=group,
                max_steps=step_limits[task],
            )
            for member in range(config.group_size)
        ]
    return requests


def stage1_advantages(rollouts: Sequence[Rollout], chunk_size: int, config: TrimConfig) -> NDArray[np.float64]:
    """Returns the advantage of each rollout in stage 1, (num_rollouts,); groups without a success carry no signal."""
    success, _ = _outcomes(rollouts, config)
    windows = np.array([rollout.request.execute_horizon for rollout in rollouts]).reshape(success.shape)
    returns = stage1_returns(success, windows, chunk_size, config.beta)
    advantages = (
        group_advantages(returns, config.advantage_eps)
        if config.baseline == "group"
        else window_advantages(returns, windows, config.advantage_eps)
    )
    return advantages.ravel()


def stage2_advantages(rollouts: Sequence[Rollout], mean_steps: Mapping[str, float], config: TrimConfig) -> NDArray[np.float64]:
    """Returns the advantage of each rollout in stage 2, (num_rollouts,).

    Args:
        rollouts: in groups of group_size.
        mean_steps: of the policy that entered the stage, keyed by str(task); scales S_base and sigma_floor.
        config: weights of the terms.
    """
    success, steps = _outcomes(rollouts, config)
    returns = np.zeros(success.shape)
    for group in range(len(success)):
        mean = mean_steps[str(rollouts[group * config.group_size].request.task)]
        returns[group] = stage2_returns(
            success[group],
            steps[group],
            config.base_steps_factor * mean,
            kappa=config.kappa,
            lam=config.lam,
            sigma_floor=config.sigma_floor_fraction * mean,
            mode=config.penalty_mode,
            one_sided=config.penalty_one_sided,
        )
    return group_advantages(returns, config.advantage_eps).ravel()


def _outcomes(rollouts: Sequence[Rollout], config: TrimConfig) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    shape = (-1, config.group_size)
    success = np.array([rollout.success for rollout in rollouts]).reshape(shape)
    return success, np.array([rollout.steps for rollout in rollouts]).reshape(shape)
