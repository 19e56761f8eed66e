"""Asks the policy in a thread of its own, so that the node never waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from policytrim_gym.errors import PolicyTrimError
from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.policy_loop import Failure, Question

MOST_WORDS = 400
"""Characters of a failure's line; what a server says may be long."""


class PolicyWorker:
    """Answers one question at a time; the newest one waits, an older one that waits is forgotten: its executor has given it up.

    Args:
        answer: asks the policy; called in the thread only.
        wake: called in the thread when an answer is there to be taken, such as the trigger of a guard condition.

    >>> import numpy as np
    >>> from policytrim_ros.control.observation_joiner import JoinedObservation
    >>> woken = threading.Event()
    >>> worker = PolicyWorker(lambda question: 1 / 0, woken.set)
    >>> worker.ask(Question(JoinedObservation(2.5, np.zeros(7), {}, ""), np.zeros(7), None, 0))
    >>> woken.wait(10.0), worker.answers()
    (True, [Failure(observation_stamp_s=2.5, message='ZeroDivisionError: division by zero')])
    >>> worker.close()
    """

    def __init__(self, answer: Callable[[Question], ChunkAnswer], wake: Callable[[], None]) -> None:
        self._answer, self._wake = answer, wake
        self._condition = threading.Condition()
        self._waiting: Question | None = None
        self._closed = threading.Event()
        self._answers: SimpleQueue[ChunkAnswer | Failure] = SimpleQueue()
        # A daemon: a server that says nothing must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="policy worker", daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> None:
        """Puts a question; returns at once."""
        with self._condition:
            self._waiting = question
            self._condition.notify()

    def answers(self) -> list[ChunkAnswer | Failure]:
        """Takes what became of the questions since the last call, in order."""
        taken: list[ChunkAnswer | Failure] = []
        while True:
            try:
                taken.append(self._answers.get_nowait())
            except Empty:
                return taken

    def close(self, timeout_s: float = 1.0) -> None:
        """Ends the thread; one that still waits for its policy is left behind after `timeout_s`, and its answer is dropped."""
        with self._condition:
            self._waiting = None
            self._closed.set()
            self._condition.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._closed.is_set() or self._waiting is not None)
                if self._closed.is_set():
                    return
                question, self._waiting = self._waiting, None
            assert question is not None
            result = self._asked(question)
            with self._condition:
                if self._closed.is_set():
                    return
                self._answers.put(result)
                self._wake()

    def _asked(self, question: Question) -> ChunkAnswer | Failure:
        try:
            return self._answer(question)
        except Exception as error:  # whatever a user's policy raises: the arm must hold for a named reason
            words = " ".join(str(error).split())[:MOST_WORDS]
            named = words if isinstance(error, PolicyTrimError) else f"{type(error).__name__}: {words}"
            return Failure(question.joined.stamp_s, named)
