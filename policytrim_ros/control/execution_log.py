"""What was published to the arm and said about it, in the order of stamps, however it arrived."""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.trajectory import Trajectory

SAME_STAMP_S = 1e-7
"""Stamps of two trajectories differ by 1 microsecond or more; one that went through a message differs from itself by a nanosecond [s]."""


class Sent(NamedTuple):
    """A trajectory on the wire."""

    stamp_s: float
    arrived_s: float
    trajectory: Trajectory


def answered_s(record: ChunkRecord) -> float:
    """Returns when the policy's answer came [s]."""
    return record.observation_stamp_s + record.observation_age_s


def asked_s(record: ChunkRecord) -> float:
    """Returns when the policy was asked, by its own word how long it took; else when was observed [s]."""
    return record.observation_stamp_s if record.inference_s is None else answered_s(record) - record.inference_s


def counted_s(record: ChunkRecord) -> float:
    """Returns the time by which a call belongs to a rollout [s].

    Of a published chunk it is when the answer came. An answer that was refused may come when the arm has been stopped for long, and
    belongs to where it was observed.
    """
    return answered_s(record) if record.verdict == PUBLISHED else record.observation_stamp_s


class ExecutionLog:
    """Trajectories and records of chunks, each once, in order.

    A trajectory without a record is not that of a chunk: it brakes or holds, or somebody else moves the arm. Before its record can have
    come it is neither.

    Args:
        settle_s: by when what belongs together has arrived [s].
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self.chunks: list[ChunkRecord] = []  # published ones, by stamp
        self.calls: list[ChunkRecord] = []  # all, by `counted_s`
        self._sent: dict[int, Sent] = {}  # by `_key`
        self._seen: set[tuple[float, float | None, str]] = set()
        self._of_chunks: set[int] = set()  # keys of published chunks

    def add_trajectory(self, trajectory: Trajectory, now_s: float) -> None:
        """Takes a trajectory that arrived."""
        if self.trajectory(trajectory.stamp_s) is None:
            self._sent[_key(trajectory.stamp_s)] = Sent(trajectory.stamp_s, now_s, trajectory)

    def add_record(self, record: ChunkRecord) -> None:
        """Takes what the policy's node said of an answer."""
        key = _identity(record)
        if key in self._seen:
            return
        self._seen.add(key)
        insort(self.calls, record, key=counted_s)
        if record.verdict == PUBLISHED:
            insort(self.chunks, record, key=stamp_of)
            self._of_chunks.add(_key(stamp_of(record)))

    def trajectory(self, stamp_s: float) -> Trajectory | None:
        """Returns the trajectory of a stamp; None when it did not arrive."""
        found = next((self._sent[key] for key in _keys(stamp_s) if key in self._sent), None)
        return None if found is None else found.trajectory

    def unclear(self, begin_s: float, end_s: float, now_s: float) -> bool:
        """Returns whether a trajectory that is stamped between two times may still turn out to be a chunk's."""
        return any(begin_s < sent.stamp_s <= end_s and now_s < sent.arrived_s + self._settle_s for sent in self._without_record())

    def first_stop(self, after_s: float) -> float | None:
        """Returns the stamp of the first trajectory after a time that is not a chunk's [s]."""
        return min((sent.stamp_s for sent in self._without_record() if sent.stamp_s > after_s + SAME_STAMP_S), default=None)

    def next_chunk(self, stamp_s: float) -> ChunkRecord | None:
        """Returns the chunk that was published after the one of a stamp."""
        return next((chunk for chunk in self.chunks if stamp_of(chunk) > stamp_s), None)

    def forget(self, before_s: float, ended_s: float) -> None:
        """Forgets trajectories with stamps before a time, and calls from before both times."""
        self._sent = {key: sent for key, sent in self._sent.items() if sent.stamp_s >= before_s}
        gone = [call for call in self.calls if max(answered_s(call), counted_s(call)) < min(before_s - 1.0, ended_s)]
        if gone:
            self.calls = [call for call in self.calls if call not in gone]
            self._seen -= {_identity(call) for call in gone}
            self._of_chunks -= {_key(stamp_of(call)) for call in gone if call.verdict == PUBLISHED}

    def _without_record(self) -> list[Sent]:
        return [sent for sent in self._sent.values() if self._of_chunks.isdisjoint(_keys(sent.stamp_s))]


def stamp_of(record: ChunkRecord) -> float:
    """Returns the stamp of a published chunk [s]."""
    assert record.stamp_s is not None
    return record.stamp_s


def _identity(record: ChunkRecord) -> tuple[float, float | None, str]:
    return record.observation_stamp_s, record.stamp_s, record.verdict


def _key(stamp_s: float) -> int:
    return round(stamp_s / SAME_STAMP_S)


def _keys(stamp_s: float) -> tuple[int, int, int]:
    """Returns the keys that the same stamp may have after rounding; another trajectory's is two or more away."""
    return _key(stamp_s), _key(stamp_s) - 1, _key(stamp_s) + 1
