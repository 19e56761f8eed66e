"""The rewards of PolicyTrim (arXiv 2606.22540): three terms and the two returns made of them.

Every function takes arrays whose last axis is the group: the rollouts that started from the same task and initial state. Each term is
non-negative and 0 for a failed rollout, so that a failure always returns exactly 0.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidRollout

Float64Array = NDArray[np.float64]
PenaltyMode = Literal["floor", "gate"]


def horizon_reward(success: ArrayLike, execute_horizon: ArrayLike, chunk_size: int, beta: float = 1.0) -> Float64Array:
    """Rewards a success for every action that ran without asking again: 1[success] * beta * h / H.

    Args:
        success: whether each rollout succeeded, (..., group_size).
        execute_horizon: h, actions run for each inference [steps]; the mean of a rollout that varied it; broadcasts against `success`.
        chunk_size: H, actions predicted by one inference [steps].
        beta: weight, at least 0.

    Returns:
        (..., group_size).

    Raises:
        InvalidHorizon: a horizon outside 1..chunk_size.
        InvalidConfig: a negative or non-finite weight.

    >>> horizon_reward([True, True, False], [5, 15, 15], chunk_size=15).round(2).tolist()
    [0.33, 1.0, 0.0]
    """
    horizon = np.asarray(execute_horizon, dtype=np.float64)
    outside = ~((horizon >= 1) & (horizon <= chunk_size))
    if outside.any():
        raise InvalidHorizon(f"execute_horizon must be in 1..{chunk_size} (chunk_size), got {horizon[outside].flat[0]}")
    return np.where(_succeeded(success), _weight("beta", beta) * horizon / chunk_size, 0.0)


def step_saving_reward(success: ArrayLike, steps: ArrayLike, base_steps: ArrayLike, kappa: float = 0.8) -> Float64Array:
    """Rewards a success for the steps that it saved: 1[success] * kappa * max(0, S_base - S) / S_base.

    Args:
        success: whether each rollout succeeded, (..., group_size).
        steps: S, physical steps to the first success [steps], (..., group_size); what failures hold is ignored, NaN included.
        base_steps: S_base, from where on a step counts as saved [steps]; a number, or one for each group as (..., 1).
        kappa: weight, at least 0.

    Returns:
        (..., group_size).

    Raises:
        InvalidRollout: a success without a finite, positive number of steps.
        InvalidConfig: `base_steps` not above 0, or a negative or non-finite weight.

    >>> step_saving_reward([True, True, False], [70, 200, 10], base_steps=140).tolist()
    [0.4, 0.0, 0.0]
    """
    return _weight("kappa", kappa) * _share_saved(success, steps, "steps", base_steps)


def call_saving_reward(success: ArrayLike, num_replans: ArrayLike, base_calls: ArrayLike, kappa_calls: float = 0.8) -> Float64Array:
    """Rewards a success for the model calls that it saved: 1[success] * kappa_calls * max(0, N_base - N) / N_base.

    Ours, not in the paper, whose horizon reward h / H asks for longer windows instead. It says the same where the horizon is constant
    (N = ceil(S / h)); a controller that chooses a horizon at every call should be paid for what calls cost.

    Args:
        success: whether each rollout succeeded, (..., group_size).
        num_replans: N, calls up to the first success, (..., group_size); what failures hold is ignored, NaN included.
        base_calls: N_base, from where on a call counts as saved; a number, or one for each group as (..., 1).
        kappa_calls: weight, at least 0.

    Returns:
        (..., group_size).

    Raises:
        InvalidRollout: a success without a finite, positive number of calls.
        InvalidConfig: `base_calls` not above 0, or a negative or non-finite weight.

    >>> call_saving_reward([True, True, False], [5, 12, 1], base_calls=10).tolist()
    [0.4, 0.0, 0.0]
    """
    return _weight("kappa_calls", kappa_calls) * _share_saved(success, num_replans, "calls", base_calls)


def stability_penalty(
    success: ArrayLike,
    steps: ArrayLike,
    lam: float = 0.2,
    sigma_floor: float = 5.0,
    mode: PenaltyMode = "floor",
    one_sided: bool = False,
) -> Float64Array:
    """Penalises a success for being unlike its group's: 1[success] * lam * tanh(|S - mu| / max(sigma, sigma_floor)).

    mu and sigma (ddof 0) are those of the SUCCESSFUL rollouts of the group. The two modes differ in tight groups, sigma < sigma_floor:
    "floor" (the paper) keeps damping the step saving there, "gate" (the reference code) drops the penalty of the whole group.

    Args:
        success: whether each rollout succeeded, (..., group_size).
        steps: S, physical steps to the first success [steps], (..., group_size); what failures hold is ignored, NaN included.
        lam: weight, at least 0.
        sigma_floor: smallest spread that counts [steps], above 0; about 5 % of the task's mean steps.
        mode: "floor" or "gate".
        one_sided: penalise only rollouts that were faster than the mean. Ours, in neither the paper nor the code.

    Returns:
        (..., group_size).

    Raises:
        InvalidRollout: no group axis, or a success without a finite, positive number of steps.
        InvalidConfig: a weight, floor or mode out of range.

    >>> stability_penalty([True, True, False], [90, 110, 10], lam=0.2).round(3).tolist()
    [0.152, 0.152, 0.0]
    """
    if not (np.isfinite(sigma_floor) and sigma_floor > 0):
        raise InvalidConfig(f"sigma_floor must be finite and above 0 steps, got {sigma_floor}")
    if mode not in get_args(PenaltyMode):
        raise InvalidConfig(f"mode must be one of {get_args(PenaltyMode)}, got {mode!r}")
    done, steps_done = _successful_counts(success, steps, "steps")
    if done.ndim == 0:
        raise InvalidRollout("success and steps need a group axis, got two scalars")
    count = np.maximum(1, done.sum(axis=-1, keepdims=True))
    faster = np.where(done, steps_done.sum(axis=-1, keepdims=True) / count - steps_done, 0.0)  # mu - S
    sigma = np.sqrt(np.square(faster).sum(axis=-1, keepdims=True) / count)
    distance = np.maximum(faster, 0.0) if one_sided else np.abs(faster)
    penalty = _weight("lam", lam) * np.tanh(distance / np.maximum(sigma, sigma_floor))
    return np.where((sigma < sigma_floor) & (mode == "gate"), 0.0, penalty)


def stage1_returns(success: ArrayLike, execute_horizon: ArrayLike, chunk_size: int, beta: float = 1.0) -> Float64Array:
    """Returns 1[success] * (1 + beta * h / H), the return of stage 1 (reliable chunk extension); see `horizon_reward`.

    >>> stage1_returns([True, False], [15, 15], chunk_size=15).tolist()
    [2.0, 0.0]
    """
    return _succeeded(success) + horizon_reward(success, execute_horizon, chunk_size, beta)


def stage2_returns(
    success: ArrayLike,
    steps: ArrayLike,
    base_steps: ArrayLike,
    kappa: float = 0.8,
    lam: float = 0.2,
    sigma_floor: float = 5.0,
    mode: PenaltyMode = "floor",
    one_sided: bool = False,
) -> Float64Array:
    """Returns 1[success] * (1 + saving - penalty), the return of stage 2 (fewer physical steps).

    The terms are `step_saving_reward` and `stability_penalty`, which document the arguments.

    >>> stage2_returns([True, True, False], [90, 110, 10], base_steps=140).round(3).tolist()
    [1.133, 1.019, 0.0]
    """
    saving = step_saving_reward(success, steps, base_steps, kappa)
    return _succeeded(success) + saving - stability_penalty(success, steps, lam, sigma_floor, mode, one_sided)


def _succeeded(success: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(success)
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise InvalidRollout(f"success must hold booleans, got {success!r}")
    return array.astype(bool)


def _share_saved(success: ArrayLike, counts: ArrayLike, noun: str, base: ArrayLike) -> Float64Array:
    """Returns 1[success] * max(0, base - count) / base."""
    base_count = np.asarray(base, dtype=np.float64)
    if not (np.isfinite(base_count) & (base_count > 0)).all():
        raise InvalidConfig(f"base_{noun} must be finite and above 0, got {base!r}")
    done, used = _successful_counts(success, counts, noun)
    return np.where(done, np.maximum(0.0, base_count - used) / base_count, 0.0)


def _successful_counts(success: ArrayLike, values: ArrayLike, noun: str) -> tuple[NDArray[np.bool_], Float64Array]:
    """Returns success and counts in one shape, with 0 for the counts of failures."""
    done, counts = _succeeded(success), np.asarray(values, dtype=np.float64)
    if done.shape != counts.shape:
        raise InvalidRollout(f"success and {noun} must have one shape, got {done.shape} and {counts.shape}")
    wrong = done & ~(np.isfinite(counts) & (counts > 0))
    if wrong.any():
        raise InvalidRollout(f"a success must have a finite, positive number of {noun}, got {counts[wrong].flat[0]}")
    return done, np.where(done, counts, 0.0)


def _weight(name: str, value: float) -> float:
    if not (np.isfinite(value) and value >= 0):
        raise InvalidConfig(f"{name} must be finite and at least 0, got {value}")
    return float(value)
