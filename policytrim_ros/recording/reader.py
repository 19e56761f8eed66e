"""Reads what monitor_node recorded."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import CorruptRecording, InvalidChunk, MissingExtra, MissingObservation
from policytrim_gym.metrics import RolloutRecord
from policytrim_ros import messages
from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.control.joint_history import JointHistory
from policytrim_ros.control.tracking import commanded_positions
from policytrim_ros.control.trajectory import Trajectory

MAGIC = b"\x89MCAP0\r\n"
# Data end without a checksum, then a footer that says that there is no index (mcap.dev/spec).
ENDING = struct.pack("<BQI", 0x0F, 4, 0) + struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + MAGIC
_DAMAGE = (struct.error, ValueError, KeyError, TypeError, IndexError, AssertionError, EOFError, OverflowError, MemoryError)
"""What rosbags raises beside its own errors, where lengths and texts are not what they should be."""
KINDS = {
    "joint_states": "sensor_msgs/msg/JointState",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "execution": "diagnostic_msgs/msg/DiagnosticArray",
    "rollout": "std_msgs/msg/String",
}
"""What is read, by the last part of the topic's name."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What a recording says of the executed chunks.

    Args:
        path: of its file.
        cut_off: whether the file has no end: it was being written when the writer was killed.
        chunks: that ended, in order.
        rollouts: by number, those that ended.
        trajectories: that were sent to the arm, by stamp.
        measured: the joints, of those that all trajectories name; None without any.
    """

    path: Path
    cut_off: bool
    chunks: tuple[ChunkExecution, ...]
    rollouts: dict[int, RolloutRecord]
    trajectories: tuple[Trajectory, ...]
    measured: JointHistory | None

    def chunks_of(self, number: int) -> list[ChunkExecution]:
        """Returns the chunks of a rollout."""
        return [chunk for chunk in self.chunks if chunk.rollout == number]

    @property
    def numbers(self) -> list[int]:
        """The rollouts, also one that did not end in the recording."""
        return sorted({chunk.rollout for chunk in self.chunks if chunk.rollout} | self.rollouts.keys())


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """Reads a recording.

    Args:
        path: of an MCAP file, or of a rosbag2 folder with one.

    Raises:
        MissingExtra: rosbags is not installed.
        CorruptRecording: no MCAP file, one that holds nothing of monitor_node, or one that is damaged within.
    """
    file = _mcap_file(Path(path))
    try:
        from rosbags.rosbag2 import ReaderError
        from rosbags.serde import SerdeError
    except ImportError as error:
        raise MissingExtra('reading a recording needs rosbags: pip install "policytrim[mcap]"') from error
    try:
        with _whole(file) as (readable, cut_off):
            return _collect(file, cut_off, list(_messages(file, readable)))
    except (CorruptRecording, MissingExtra):
        raise
    except (ReaderError, SerdeError, *_DAMAGE) as error:
        raise CorruptRecording(f"{file} is damaged: {type(error).__name__}: {error}") from error


def _mcap_file(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise CorruptRecording(f"a recording must be an MCAP file or a folder with one, there is no {path}")
        return path
    files = sorted(path.glob("*.mcap"))
    if len(files) != 1:
        raise CorruptRecording(f"the folder of a recording must hold one .mcap file, {path} holds {len(files)}")
    return files[0]


@contextmanager
def _whole(file: Path) -> Iterator[tuple[Path, bool]]:
    """Gives a file that can be read, and whether the recording was cut off: then it is a copy up to its last whole record, with an end."""
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise CorruptRecording(f"{file} is no MCAP file: it does not begin as one")
        if stream.seek(0, os.SEEK_END) >= len(MAGIC) + len(ENDING):
            stream.seek(-len(MAGIC), os.SEEK_END)
            if stream.read() == MAGIC and file.suffix == ".mcap":
                yield file, False
                return
        length = _whole_records(stream)
        if length <= len(MAGIC):
            raise CorruptRecording(f"{file} was cut off before its first record")
        with TemporaryDirectory() as folder:
            copy = Path(folder, "copy.mcap")
            stream.seek(0)
            with copy.open("wb") as target:
                shutil.copyfileobj(stream, target)
                target.truncate(length)
                target.seek(length)
                target.write(ENDING)
            yield copy, True


def _whole_records(stream: BinaryIO) -> int:
    """Returns up to where a file holds whole records of messages [bytes]: each is an opcode, a length and so many bytes."""
    size, position = stream.seek(0, os.SEEK_END), len(MAGIC)
    while position + 9 <= size:
        stream.seek(position)
        opcode, length = struct.unpack("<BQ", stream.read(9))
        if opcode == 0x0F or position + 9 + length > size:  # an index that was being written says nothing new
            break
        position += 9 + length
    return position


def _messages(file: Path, readable: Path) -> Iterator[tuple[str, Any]]:
    """Gives what was recorded of each kind, in order."""
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_typestore

    typestore = get_typestore(Stores.ROS2_JAZZY)
    with Reader(readable) as reader:
        kinds = {}
        for connection in reader.connections:
            kind = connection.topic.rpartition("/")[2]
            if KINDS.get(kind) == connection.msgtype:
                kinds[connection.id] = kind
        if not {"execution", "rollout"} & set(kinds.values()):
            topics = sorted(connection.topic for connection in reader.connections)
            raise CorruptRecording(f"{file} must hold the topics execution and rollout of monitor_node, it holds {topics}")
        wanted = [connection for connection in reader.connections if connection.id in kinds]
        for connection, _, data in reader.messages(wanted):
            yield kinds[connection.id], _deserialized(typestore, data, connection.msgtype)


def _deserialized(typestore: Any, data: bytes, kind: str) -> Any:
    """Returns a message; unlike `Typestore.deserialize_cdr` also one with bytes behind it, as rclpy's `serialize_message` leaves them."""
    definition = typestore.get_msgdef(kind)
    read = definition.deserialize_cdr_le if data[1] else definition.deserialize_cdr_be
    return read(data[4:], 0, definition.cls, typestore)[0]


def _collect(file: Path, cut_off: bool, found: list[tuple[str, Any]]) -> Recording:
    chunks: list[ChunkExecution] = []
    rollouts: dict[int, RolloutRecord] = {}
    trajectories: dict[float, Trajectory] = {}
    states = []
    for kind, message in found:
        if kind == "execution":
            chunks += [ChunkExecution.from_values({pair.key: pair.value for pair in status.values}) for status in message.status]
        elif kind == "rollout":
            # The node says a rollout after its last chunk and before any of the next one.
            number = next((chunk.rollout for chunk in reversed(chunks) if chunk.rollout), len(rollouts) + 1)
            rollouts[number] = RolloutRecord.from_json(json.loads(message.data))
        elif kind == "joint_trajectory":
            try:
                trajectory = messages.from_joint_trajectory(message)
            except InvalidChunk:
                continue  # the node counted it as unreadable, and so would the controller
            trajectories[trajectory.stamp_s] = trajectory
        else:
            states.append(message)
    sent = tuple(trajectories[stamp_s] for stamp_s in sorted(trajectories))
    return Recording(file, cut_off, tuple(chunks), rollouts, sent, _measured(states, sent))


def _measured(states: list[Any], trajectories: tuple[Trajectory, ...]) -> JointHistory | None:
    named = [set(trajectory.joint_names) for trajectory in trajectories]
    joints = tuple(name for name in trajectories[0].joint_names if all(name in names for names in named)) if named else ()
    if not joints:
        return None
    history = JointHistory(joints)
    for message in states:
        try:
            history.add(messages.from_joint_state(message), messages.to_seconds(message.header.stamp))
        except MissingObservation:
            continue  # of other joints
    return history


def commanded(recording: Recording, joints: tuple[str, ...], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns where the joints were commanded to be, (m, n); NaN before the first trajectory.

    Args:
        recording: its trajectories replace each other at their stamps.
        joints: the columns, (n,).
        times_s: increasing, (m,) [s].
    """
    stamps = np.array([trajectory.stamp_s for trajectory in recording.trajectories])
    playing = np.searchsorted(stamps, times_s, side="right") - 1
    positions = np.full((len(times_s), len(joints)), np.nan)
    for index in np.unique(playing[playing >= 0]):
        part = playing == index
        positions[part] = commanded_positions(recording.trajectories[index], joints, times_s[part])
    return positions
