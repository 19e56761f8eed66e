"""Which action runs next when a chunk arrives late: the bookkeeping of asynchronous execution, without threads or clocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk, check_horizon
from policytrim_gym.errors import InvalidChunk, InvalidHorizon


class ChunkQueue:
    """Joins the actions of one window from the previous chunk and the new one.

    The policy is asked at the start of a window and answers d steps later. Meanwhile the previous chunk goes on where its own window
    ended, at index h; the new chunk's first d actions were meant for the steps that passed, so it joins at index d:

        window = previous[h .. h+d-1] + new[d .. h-1]

    The first window after `reset` has no previous chunk: the arm waits at rest for the answer, and the whole window is new[0 .. h-1].

    >>> import numpy as np
    >>> queue = ChunkQueue()
    >>> first, second = (ActionChunk(np.arange(start, start + 6.0)[:, None]) for start in (0, 100))
    >>> queue.window(first, execute_horizon=4, inference_delay_steps=2).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]
    >>> queue.window(second, execute_horizon=4, inference_delay_steps=2).ravel().tolist()
    [4.0, 5.0, 102.0, 103.0]
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the previous chunk, so that a new episode never runs an old tail."""
        self._previous: ActionChunk | None = None
        self._next_index = 0

    def window(self, chunk: ActionChunk, execute_horizon: int, inference_delay_steps: int = 0) -> NDArray[np.float32]:
        """Returns the actions to run until the next chunk is asked for.

        Args:
            chunk: predicted from the observation at the start of this window.
            execute_horizon: h, length of the window [steps].
            inference_delay_steps: d, steps that pass until `chunk` arrives; d <= h <= chunk_size - d [steps].

        Returns:
            (execute_horizon, action_dim).

        Raises:
            InvalidHorizon: h or d out of range, or the previous chunk is too short to bridge the delay; the queue is unchanged then.
            InvalidChunk: another action_dim than the previous chunk's.
        """
        delay = check_delay(inference_delay_steps, execute_horizon, chunk.chunk_size)
        window = chunk.actions[:execute_horizon]
        if self._previous is not None and delay > 0:
            bridge = self._previous.actions[self._next_index : self._next_index + delay]
            if len(bridge) < delay:
                raise InvalidHorizon(
                    f"{len(bridge)} actions of the previous chunk are left, too few for inference_delay_steps {delay}; "
                    "choose a smaller execute_horizon for the window before"
                )
            if bridge.shape[1] != chunk.action_dim:
                raise InvalidChunk(f"the chunk must have action_dim {bridge.shape[1]} as the one before, got {chunk.action_dim}")
            window = np.concatenate([bridge, window[delay:]])
        self._previous, self._next_index = chunk, execute_horizon
        return window


def check_delay(inference_delay_steps: object, execute_horizon: int, chunk_size: int) -> int:
    """Returns the delay as an int, when a constant horizon can bridge it: d <= h <= chunk_size - d.

    Raises:
        InvalidHorizon: not an integer of at least 0, longer than half a chunk, or no room for it beside this horizon.

    >>> check_delay(3, execute_horizon=8, chunk_size=32)
    3
    """
    check_horizon(execute_horizon, chunk_size)
    delay = inference_delay_steps
    if isinstance(delay, bool) or not isinstance(delay, (int, np.integer)) or delay < 0:
        raise InvalidHorizon(f"inference_delay_steps must be an integer of at least 0, got {delay!r}")
    if 2 * delay > chunk_size:
        raise InvalidHorizon(
            f"inference_delay_steps must be at most {chunk_size // 2}, half of chunk_size {chunk_size}, "
            f"or no execute_horizon h has d <= h <= chunk_size - d; got {delay}"
        )
    if not delay <= execute_horizon <= chunk_size - delay:
        raise InvalidHorizon(
            f"execute_horizon must be in {delay}..{chunk_size - delay} for chunk_size {chunk_size} and inference_delay_steps {delay}, "
            f"got {execute_horizon}"
        )
    return int(delay)
