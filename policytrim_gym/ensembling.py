"""Temporal ensembling: the average of all chunks that predicted the present step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk, check_horizon
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon


class TemporalEnsemble:
    """Averages the predictions of overlapping chunks for each step, as ACT does (arXiv 2304.13705, algorithm 2).

        a_t = sum_i w_i A_i[t] / sum_i w_i,  w_i = exp(-decay * i)

    where i = 0 is the OLDEST chunk that still covers step t, as in ACT, so that a positive decay trusts old predictions more. ACT asks
    every step; here chunks may come every k steps, and those that have run out drop away. Unlike `ChunkQueue`, which switches from one
    chunk to the next, nothing jumps, at the price of many more calls or of mixing plans that disagree.

    Args:
        decay: m of the weights for each chunk of age, finite; 0 is the plain mean.

    Raises:
        InvalidConfig: `decay` is not finite.

    >>> ensemble = TemporalEnsemble(decay=0.0)
    >>> ensemble.window(ActionChunk([[0.0], [2.0], [4.0]]), execute_horizon=1).tolist()
    [[0.0]]
    >>> ensemble.window(ActionChunk([[4.0], [6.0], [8.0]]), execute_horizon=2).tolist()
    [[3.0], [5.0]]
    """

    def __init__(self, decay: float = 0.01) -> None:
        if not np.isfinite(decay):
            raise InvalidConfig(f"decay must be finite, got {decay}")
        self._decay = float(decay)
        self.reset()

    def reset(self) -> None:
        """Forgets all chunks; for the start of an episode."""
        self._chunks: list[tuple[int, ActionChunk]] = []  # (step at which it was predicted, chunk), oldest first
        self._step = 0

    def add(self, chunk: ActionChunk) -> None:
        """Takes a chunk that was predicted from the observation of the present step.

        Raises:
            InvalidChunk: another action_dim than the chunks before.
        """
        if self._chunks and self._chunks[-1][1].action_dim != chunk.action_dim:
            raise InvalidChunk(f"the chunk must have action_dim {self._chunks[-1][1].action_dim} as the one before, got {chunk.action_dim}")
        self._chunks.append((self._step, chunk))

    def next_action(self) -> NDArray[np.float32]:
        """Returns the average for the present step, (action_dim,), and moves on to the next step.

        Raises:
            InvalidHorizon: every chunk has run out.
        """
        self._chunks = [(start, chunk) for start, chunk in self._chunks if self._step - start < chunk.chunk_size]
        if not self._chunks:
            raise InvalidHorizon(f"no chunk covers step {self._step} of the episode; add one at least every chunk_size steps")
        predictions = np.stack([chunk.actions[self._step - start] for start, chunk in self._chunks]).astype(np.float64)
        age = np.arange(len(predictions))
        # Weights are relative: counting from the largest exponent keeps a strong decay from underflowing to 0 / 0.
        weights = np.exp(-self._decay * (age - (0 if self._decay >= 0 else age[-1])))
        self._step += 1
        return np.average(predictions, axis=0, weights=weights).astype(np.float32)

    def window(self, chunk: ActionChunk, execute_horizon: int) -> NDArray[np.float32]:
        """Adds a chunk and returns the actions of the steps until the next one, (execute_horizon, action_dim).

        Raises:
            InvalidHorizon: outside 1..chunk_size.
            InvalidChunk: another action_dim than the chunks before.
        """
        horizon = check_horizon(execute_horizon, chunk.chunk_size)
        self.add(chunk)
        return np.stack([self.next_action() for _ in range(horizon)])
