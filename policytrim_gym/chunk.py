"""The action chunk: what one inference predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidChunk, InvalidHorizon, InvalidSpec

ACTION_KINDS = ("delta", "position")


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """The H actions that one inference of a policy predicts.

    Frozen and validated: whoever holds an `ActionChunk` need not check it again.

    Args:
        actions: finite numbers, (chunk_size, action_dim); copied as read-only float32.

    Raises:
        InvalidChunk: wrong rank, empty, or not finite.

    >>> chunk = ActionChunk([[0.0, 1.0], [0.5, 1.0], [1.0, -1.0]])
    >>> chunk.chunk_size, chunk.action_dim
    (3, 2)
    >>> chunk.tail(2)
    array([[ 1., -1.]], dtype=float32)
    """

    actions: NDArray[np.float32]

    def __post_init__(self) -> None:
        try:
            actions = np.array(self.actions, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidChunk(f"a chunk must be an array of numbers, got {type(self.actions).__name__}: {error}") from error
        if actions.ndim != 2 or 0 in actions.shape:
            raise InvalidChunk(f"a chunk must have shape (chunk_size, action_dim), both at least 1, got {actions.shape}")
        finite = np.isfinite(actions)
        if not finite.all():
            step, dim = np.argwhere(~finite)[0]
            raise InvalidChunk(f"a chunk must be finite, got {actions[step, dim]} at step {step}, dimension {dim}")
        actions.setflags(write=False)
        object.__setattr__(self, "actions", actions)

    @property
    def chunk_size(self) -> int:
        """H, the number of predicted actions."""
        return int(self.actions.shape[0])

    @property
    def action_dim(self) -> int:
        """Numbers in one action."""
        return int(self.actions.shape[1])

    def tail(self, executed_steps: int) -> NDArray[np.float32]:
        """Returns the actions that were not run, (chunk_size - executed_steps, action_dim)."""
        return self.actions[executed_steps:]


def check_horizon(execute_horizon: object, chunk_size: int, name: str = "execute_horizon") -> int:
    """Returns `execute_horizon` as an int in 1..chunk_size.

    Raises:
        InvalidHorizon: not an integer, or out of range.

    >>> check_horizon(8, chunk_size=32)
    8
    """
    if isinstance(execute_horizon, bool) or not isinstance(execute_horizon, (int, np.integer)):
        raise InvalidHorizon(f"{name} must be an integer in 1..{chunk_size}, got {execute_horizon!r}")
    if not 1 <= execute_horizon <= chunk_size:
        raise InvalidHorizon(f"{name} must be in 1..{chunk_size} (chunk_size), got {execute_horizon}")
    return int(execute_horizon)


def resample_actions(
    actions: ArrayLike,
    playback_rate: float,
    action_kinds: Sequence[str],
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Plays actions faster: n actions become round(n / playback_rate), at least one.

    Output step k covers the input interval [k, k+1) * n/m. A "delta" dimension takes the sum over it (the integral of the
    piecewise constant command, so that the displacement is kept). A "position" dimension takes the position at the interval's end, on
    the straight line between the commands before and after it; command i is where step i ends, at i + 1.
    What the actuator cannot do in one step is cut at `low` and `high`, as the environment would cut it.

    Args:
        actions: (n, action_dim).
        playback_rate: above 0; 2.0 takes half the steps.
        action_kinds: "delta" or "position" for each dimension, (action_dim,).
        low, high: actuator limits, (action_dim,), or None.

    Returns:
        (round(n / playback_rate), action_dim) float32.

    Raises:
        InvalidSpec: a rate that is not positive, or kinds that do not fit the actions.

    >>> resample_actions([[0.1, 1.0], [0.2, 1.0], [0.3, -1.0], [0.4, -1.0]], 2.0, ("delta", "position"))
    array([[ 0.3,  1. ],
           [ 0.7, -1. ]], dtype=float32)
    """
    array = np.asarray(actions, dtype=np.float64)
    if not np.isfinite(playback_rate) or playback_rate <= 0:
        raise InvalidSpec(f"playback_rate must be a finite number above 0, got {playback_rate}")
    if len(action_kinds) != array.shape[1] or any(kind not in ACTION_KINDS for kind in action_kinds):
        raise InvalidSpec(f"action_kinds must be {array.shape[1]} of {ACTION_KINDS}, got {tuple(action_kinds)}")
    num_out = max(1, int(np.floor(len(array) / playback_rate + 0.5)))
    if num_out == len(array):
        return array.astype(np.float32)
    edges = np.linspace(0.0, len(array), num_out + 1)
    integral = np.concatenate([np.zeros((1, array.shape[1])), np.cumsum(array, axis=0)])  # (n + 1, action_dim)
    knots = np.arange(len(array) + 1)
    sums = np.stack([np.diff(np.interp(edges, knots, column)) for column in integral.T], axis=1)
    positions = np.stack([np.interp(edges[1:], knots[1:], column) for column in array.T], axis=1)
    is_delta = np.array([kind == "delta" for kind in action_kinds])
    resampled = np.where(is_delta, sums, positions)
    if low is not None and high is not None:
        resampled = np.clip(resampled, low, high)
    return resampled.astype(np.float32)
