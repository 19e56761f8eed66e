"""Writes messages into a rosbag2 folder, so that little is lost when the process is killed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CannotWrite, MissingExtra


class Recorder:
    """A folder with one MCAP file, in the layout of `ros2 bag`.

    Messages are gathered and written whole by `flush`. After a kill the file lacks its index and its end, and metadata.yaml is missing;
    everything up to the last `flush` can be read (`policytrim_ros.recording.reader`). `close` writes index and end, and metadata.yaml last
    and at once: a folder that has it is complete.

    Args:
        path: of the folder; where it exists already, -2, -3, ... is appended: nothing is overwritten.
        topics: their types, such as {"/joint_states": "sensor_msgs/msg/JointState"}.

    Raises:
        MissingExtra: rosbags is not installed.
        CannotWrite: the folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], topics: Mapping[str, str]) -> None:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise MissingExtra('recording needs rosbags: pip install "policytrim[mcap]"') from error
        self.path = _free(Path(path))
        typestore = get_typestore(Stores.ROS2_JAZZY)
        self._writer: Any = Writer(self.path, version=8, storage_plugin=StoragePlugin.MCAP)
        try:
            self._writer.open()
        except OSError as error:
            raise CannotWrite(f"could not make the recording {self.path}: {error.strerror or error}") from error
        self._connections = {topic: self._writer.add_connection(topic, kind, typestore=typestore) for topic, kind in topics.items()}
        self._last_ns = 0
        self.num_messages = 0

    def write(self, topic: str, data: bytes, stamp_ns: int) -> None:
        """Takes a serialized message.

        Args:
            topic: one of those of the constructor.
            data: CDR, as a raw subscription gets it.
            stamp_ns: when it came; a file without index must be in order, so that it is never before the one before it [ns].

        Raises:
            CannotWrite: the disk is full, or gone.
        """
        self._last_ns = max(self._last_ns, stamp_ns)
        self.num_messages += 1
        try:
            self._writer.write(self._connections[topic], self._last_ns, data)
        except OSError as error:
            raise CannotWrite(f"could not write the recording {self.path}: {error.strerror or error}") from error

    def flush(self) -> None:
        """Hands everything so far to the operating system, which keeps it when this process is killed.

        Raises:
            CannotWrite: the disk is full, or gone.
        """
        storage = self._writer.storage
        try:
            if storage.chunk.msgs:  # rosbags itself writes a chunk when it has 1 MiB, 20 s of a quiet arm
                storage.close_chunk()
            storage.bio.flush()
        except OSError as error:
            raise CannotWrite(f"could not write the recording {self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Completes the folder.

        Raises:
            CannotWrite: the disk is full, or gone; what was flushed can be read.
        """
        try:
            self._writer.close()
        except OSError as error:
            raise CannotWrite(f"could not complete the recording {self.path}: {error.strerror or error}") from error


def _free(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
