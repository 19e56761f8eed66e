"""Advantages of grouped rollouts: how much better a rollout did than those that started like it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidConfig, InvalidRollout


def group_advantages(returns: ArrayLike, eps: float = 1e-6) -> NDArray[np.float64]:
    """Normalises returns within each group: A = (R - mean) / (std + eps), std with ddof = 1 (GRPO, arXiv 2402.03300).

    A group without spread (all failed, or all equal) carries no signal and gives exact zeros; so does a group of one.

    Args:
        returns: (num_groups, group_size); further leading axes are fine.
        eps: added to the standard deviation, at least 0.

    Returns:
        Same shape; every row sums to zero.

    Raises:
        InvalidRollout: no group axis, an empty group, or a return that is not finite.
        InvalidConfig: a negative or non-finite `eps`.

    >>> group_advantages([[1.0, 1.0, 2.0, 0.0], [2.0, 2.0, 2.0, 2.0]]).round(2).tolist()
    [[0.0, 0.0, 1.22, -1.22], [0.0, 0.0, 0.0, 0.0]]
    """
    values = _checked(returns, eps)
    return _scaled(values - values.mean(axis=-1, keepdims=True), values, eps)


def window_advantages(returns: ArrayLike, windows: ArrayLike, eps: float = 1e-6) -> NDArray[np.float64]:
    """As `group_advantages`, but the baseline is the mean of the rollouts of the group that ran the same window.

    The plain baseline blames a short window for the bonus that it cannot earn: in a group where all succeed it gives -1.05 to
    rollouts that did nothing wrong. Here they get 0. The divisor stays the standard deviation of the WHOLE group's returns (ddof = 1),
    so that both variants have one scale and differ in the baseline only. A window that one rollout of the group ran gives it 0.

    Args:
        returns: (num_groups, group_size).
        windows: `execute_horizon` of each rollout [steps], same shape.
        eps: added to the standard deviation, at least 0.

    Returns:
        Same shape; within a group the advantages of each window sum to zero.

    Raises:
        InvalidRollout, InvalidConfig: as `group_advantages`, or shapes that differ.

    >>> window_advantages([[2.0, 2.0, 1.5, 0.0]], [[8, 8, 4, 4]]).round(2).tolist()
    [[0.0, 0.0, 0.79, -0.79]]
    """
    values, horizons = _checked(returns, eps), np.asarray(windows)
    if horizons.shape != values.shape:
        raise InvalidRollout(f"windows must have the shape of returns {values.shape}, got {horizons.shape}")
    same = horizons[..., :, None] == horizons[..., None, :]  # (..., group_size, group_size)
    baseline = (same * values[..., None, :]).sum(axis=-1) / same.sum(axis=-1)
    return _scaled(values - baseline, values, eps)


def _checked(returns: ArrayLike, eps: float) -> NDArray[np.float64]:
    values = np.asarray(returns, dtype=np.float64)
    if not (np.isfinite(eps) and eps >= 0):
        raise InvalidConfig(f"eps must be finite and at least 0, got {eps}")
    if values.ndim == 0 or values.shape[-1] == 0:
        raise InvalidRollout(f"returns must have shape (num_groups, group_size), got {values.shape}")
    if not np.isfinite(values).all():
        raise InvalidRollout(f"returns must be finite, got {values[~np.isfinite(values)].flat[0]}")
    return values


def _scaled(differences: NDArray[np.float64], values: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
    """Divides by the group's standard deviation; exact zeros where the group has no spread."""
    spread = np.ptp(values, axis=-1, keepdims=True)
    std = values.std(axis=-1, ddof=1, keepdims=True) if values.shape[-1] > 1 else np.zeros_like(spread)
    return np.where(spread == 0, 0.0, differences / np.where(spread == 0, 1.0, std + eps))
