"""A chunk in a few numbers: how fast it moves, how much it bends, and how far it disagrees with the chunk before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def chunk_summary(
    actions: NDArray[np.float32], boundaries: Sequence[int], disagreement: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Returns what tells a chunk that can run far from one that cannot.

    For each segment between two boundaries (the first begins at 0): the mean magnitude |a_t| and the mean change |a_t - a_(t-1)| of each
    action dimension; then the mean disagreement with the previous chunk of each dimension, and the share of the chunk that both cover.

    Args:
        actions: (chunk_size, action_dim).
        boundaries: ends of the segments, strictly increasing, in 1..chunk_size; the last may be shorter than the chunk [steps].
        disagreement: |new - old| over the overlap, (overlap, action_dim), as `ReplanContext.overlap_disagreement` gives it; None or empty
            without a previous chunk.

    Returns:
        (chunk_summary_size(action_dim, len(boundaries)),), all at least 0.

    >>> chunk_summary(np.array([[1.0], [1.0], [-1.0], [3.0]], np.float32), boundaries=(2, 4)).tolist()
    [1.0, 0.0, 2.0, 3.0, 0.0, 0.0]
    """
    action_dim = actions.shape[1]
    magnitude = np.abs(actions)
    change = np.abs(np.diff(actions, axis=0, prepend=actions[:1]))
    parts = []
    for begin, end in zip((0, *boundaries), boundaries):
        parts += [magnitude[begin:end].mean(axis=0), change[begin:end].mean(axis=0)]
    overlap = 0 if disagreement is None else len(disagreement)
    parts.append(disagreement.mean(axis=0) if disagreement is not None and overlap else np.zeros(action_dim))
    parts.append(np.array([overlap / len(actions)]))
    return np.concatenate(parts).astype(np.float32)


def chunk_summary_size(action_dim: int, num_boundaries: int) -> int:
    """Returns the length of a chunk summary.

    >>> chunk_summary_size(action_dim=4, num_boundaries=5)
    45
    """
    return action_dim * (2 * num_boundaries + 1) + 1
