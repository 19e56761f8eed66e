"""One call of the policy for all observations that wait."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidConfig, WorkerFailed
from policytrim_gym.policy import ChunkPolicy, Observation


class TimedChunk(NamedTuple):
    """A chunk and how long the policy's call for it took [s], with all that were in the same call."""

    chunk: ActionChunk
    inference_s: float


class Request(NamedTuple):
    """An observation that waits, and who takes its chunk."""

    observation: Observation
    future: Future[TimedChunk]


class ChunkBatcher:
    """Gathers observations from many threads and asks the policy for all of them in one call, on a thread of its own.

    What arrives while the policy computes is the next batch. Where the policy refuses a batch, each of its observations is asked for
    alone, so that one client's mistake fails that client only.

    Args:
        policy: only ever called from the batcher's thread.
        max_wait_s: how long the first observation of a batch waits for others [s]; 0 takes those that are there.
        max_batch: observations in one call.
        expected: how many observations can come at most, so that a batch does not wait for more; None when unknown.

    Raises:
        InvalidConfig: a negative wait, or a batch below 1.

    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.spec import PolicySpec
    >>> policy = CallablePolicy(lambda observation: [observation["state"]], PolicySpec(chunk_size=1, action_dim=2))
    >>> with ChunkBatcher(policy) as batcher:
    ...     batcher.submit({"state": [0.5, 1.0]}).result().chunk.actions
    array([[0.5, 1. ]], dtype=float32)
    """

    def __init__(
        self, policy: ChunkPolicy, max_wait_s: float = 0.0, max_batch: int = 64, expected: Callable[[], int] | None = None
    ) -> None:
        if not 0 <= max_wait_s < float("inf"):
            raise InvalidConfig(f"max_wait_s must be a finite number of at least 0, got {max_wait_s}")
        if max_batch < 1:
            raise InvalidConfig(f"max_batch must be at least 1, got {max_batch}")
        self._policy = policy
        self._max_wait_s = max_wait_s
        self._max_batch = max_batch
        self._expected = expected
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()  # None: the end
        self._thread = threading.Thread(target=self._work, name="chunk batcher", daemon=True)
        self._thread.start()

    def submit(self, observation: Observation) -> Future[TimedChunk]:
        """Returns what will hold the chunk, or the policy's error."""
        future: Future[TimedChunk] = Future()
        self._waiting.put(Request(observation, future))
        return future

    def close(self) -> None:
        """Ends the thread after what was submitted before."""
        self._waiting.put(None)
        self._thread.join()

    def __enter__(self) -> ChunkBatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        ended = False
        while not ended:
            first = self._waiting.get()
            if first is None:
                break
            batch, ended = self._gather(first)
            batch = [request for request in batch if request.future.set_running_or_notify_cancel()]
            if batch:
                self._answer(batch)
        while not self._waiting.empty():
            late = self._waiting.get()
            if late is not None:
                late.future.set_exception(WorkerFailed("the server is stopping: no chunk"))

    def _gather(self, first: Request) -> tuple[list[Request], bool]:
        """Returns the batch that begins with `first`, and whether the end came behind it."""
        batch, until = [first], time.monotonic() + self._max_wait_s
        while len(batch) < self._max_batch:
            is_whole = self._expected is not None and len(batch) >= self._expected()
            try:
                left_s = until - time.monotonic()
                request = self._waiting.get_nowait() if is_whole or left_s <= 0 else self._waiting.get(timeout=left_s)
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
        return batch, False

    def _answer(self, batch: list[Request]) -> None:
        start = time.perf_counter()
        try:
            chunks = self._policy.predict_action_chunks([request.observation for request in batch])
            if len(chunks) != len(batch):
                raise WorkerFailed(f"the policy must answer {len(batch)} observations with as many chunks, got {len(chunks)}")
        except Exception as error:  # a policy is foreign code: whatever it raises is that request's answer
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for request in batch:
                self._answer([request])
            return
        inference_s = time.perf_counter() - start
        for request, chunk in zip(batch, chunks):
            request.future.set_result(TimedChunk(chunk, inference_s))
