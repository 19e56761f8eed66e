"""How large one normalised unit of each action is, from demonstrations in physical units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.policies.action_increments import ActionIncrements, is_motion
from policytrim_gym.training.demonstrations import Demonstration

PERCENTILE = 98.0
"""Of the demonstrated increments: near the fastest, but not the one jump of a single demonstration."""

LEAST_OF_RANGE = 1e-3
"""Floor of the scale as a part of the action's range. A dimension that the demonstrations never move, such as the tilt of a tool that
stays upright, must explore far less than the others: a floor relative to their motion would shake it."""

LEAST = 1e-6
"""Floor of the scale [action units] where the range is not known either."""


def motion_scale(
    demonstrations: Sequence[Demonstration],
    action_range: ArrayLike,
    action_kinds: Sequence[str] | None,
    action_origins: Sequence[int | None],
) -> NDArray[np.float32]:
    """Returns the scale at which demonstrated motions are about 1, (action_dim,).

    A dimension of motion gets the 98th percentile of its absolute increments, at least a thousandth of its range. The others keep 1.

    Args:
        demonstrations: at least one.
        action_range: highest minus lowest action, (action_dim,) [action units]; may be infinite.
        action_kinds, action_origins: for each dimension, as `StatePolicyConfig` has them.

    >>> targets = np.array([[0.1, 0.0], [0.2, 1.0], [0.3, 1.0]], np.float32)  # a joint [rad] and a gripper [0, 1]
    >>> demonstration = Demonstration("lift", "lift it", np.zeros((3, 1), np.float32), targets)
    >>> motion_scale([demonstration], [6.0, 1.0], ("position", "position"), (0, None)).round(3)
    array([0.1, 1. ], dtype=float32)
    """
    increments = ActionIncrements(action_origins)
    sizes = [
        increments.from_actions(torch.from_numpy(episode.actions)[None], torch.from_numpy(episode.states[:1]))[0].abs().numpy()
        for episode in demonstrations
    ]
    scale = np.maximum(np.percentile(np.concatenate(sizes), PERCENTILE, axis=0), scale_floor(action_range))
    return np.where(is_motion(action_kinds, action_origins), scale, 1.0).astype(np.float32)


def scale_floor(action_range: ArrayLike) -> NDArray[np.float64]:
    """Returns the least scale of each action, (action_dim,) [action units]: a thousandth of its range, where that is known.

    Args:
        action_range: highest minus lowest action, (action_dim,) [action units]; may be infinite.

    >>> scale_floor([2.0, np.inf]).tolist()
    [0.002, 1e-06]
    """
    ranges = np.asarray(action_range, dtype=np.float64)
    return np.maximum(np.where(np.isfinite(ranges), LEAST_OF_RANGE * ranges, 0.0), LEAST)
