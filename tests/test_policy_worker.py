"""Laws of the thread that asks the policy."""

from __future__ import annotations

import threading

import numpy as np

from policytrim_gym.errors import ServerUnreachable
from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.observation_joiner import JoinedObservation
from policytrim_ros.control.policy_loop import Failure, Question
from policytrim_ros.policy_worker import MOST_WORDS, PolicyWorker

WAIT_S = 10.0


def question(stamp_s):
    return Question(JoinedObservation(stamp_s, np.zeros(7), {}, ""), np.zeros(7), None, 0)


class Gate:
    """A policy that answers when it is let."""

    def __init__(self):
        self.asked, self.let, self.woken = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)
        self.stamps = []

    def answer(self, asked):
        self.stamps.append(asked.joined.stamp_s)
        self.asked.release()
        assert self.let.acquire(timeout=WAIT_S)
        return ChunkAnswer(np.zeros((2, 7)), (), asked.joined.stamp_s)


def test_a_slow_policy_blocks_nobody_is_asked_one_question_at_a_time_and_next_the_newest():
    gate = Gate()
    worker = PolicyWorker(gate.answer, gate.woken.release)
    worker.ask(question(1.0))
    assert gate.asked.acquire(timeout=WAIT_S)
    for stamp_s in (2.0, 3.0, 4.0):
        worker.ask(question(stamp_s))
    assert worker.answers() == [] and gate.stamps == [1.0]
    for _ in range(2):
        gate.let.release()
        assert gate.woken.acquire(timeout=WAIT_S)
    assert [answer.observation_stamp_s for answer in worker.answers()] == [1.0, 4.0]
    worker.close()


def test_whatever_is_raised_becomes_one_line_and_the_next_question_is_answered():
    woken, errors = threading.Semaphore(0), [ServerUnreachable("ws://gpu:8000:\n nobody  there"), KeyError("x" * 9999), None]

    def answer(asked):
        error = errors.pop(0)
        if error is not None:
            raise error
        return ChunkAnswer(None, (), asked.joined.stamp_s)

    worker = PolicyWorker(answer, woken.release)
    results = []
    for stamp_s in (1.0, 2.0, 3.0):
        worker.ask(question(stamp_s))
        assert woken.acquire(timeout=WAIT_S)
        results += worker.answers()
    assert results[0] == Failure(1.0, "ws://gpu:8000: nobody there")
    assert results[1].message.startswith("KeyError: ") and len(results[1].message) <= MOST_WORDS + len("KeyError: ")
    assert isinstance(results[2], ChunkAnswer)
    worker.close()


def test_after_the_end_a_late_answer_wakes_nobody():
    gate = Gate()
    worker = PolicyWorker(gate.answer, gate.woken.release)
    worker.ask(question(1.0))
    assert gate.asked.acquire(timeout=WAIT_S)
    worker.close(timeout_s=0.0)
    gate.let.release()
    worker.close(timeout_s=WAIT_S)
    assert worker.answers() == [] and not gate.woken.acquire(blocking=False)
