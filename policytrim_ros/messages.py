"""Between ROS messages and arrays.

Message classes are imported where they are used, so that this module can be imported without ROS. A float64 holds a time since 1970 to
0.3 microseconds.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidChunk, MissingObservation
from policytrim_ros.control.chunk_execution import to_bool
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.trajectory import Trajectory

NANOSECONDS = 1_000_000_000
_CHANNELS = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0]}
"""Encodings of colour images, and where red, green and blue stand in them."""


def to_seconds(stamp: Any) -> float:
    """Returns a builtin_interfaces Time or Duration as seconds."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)


def to_time(seconds: float) -> Any:
    """Returns seconds as a builtin_interfaces Time, rounded to nanoseconds."""
    from builtin_interfaces.msg import Time

    return Time(**_parts(seconds))


def to_joint_state(joint_names: tuple[str, ...], positions: NDArray[np.float64], velocities: NDArray[np.float64], stamp_s: float) -> Any:
    """Returns a sensor_msgs JointState.

    Args:
        joint_names: (n,).
        positions, velocities: (n,) [rad], [m], a second.
        stamp_s: when they were measured [s].
    """
    from sensor_msgs.msg import JointState

    message = JointState(name=list(joint_names), position=array("d", positions), velocity=array("d", velocities))
    message.header.stamp = to_time(stamp_s)
    return message


def joint_velocities(message: Any) -> dict[str, float]:
    """Returns the velocities of a sensor_msgs JointState by joint [rad/s], [m/s]; empty when it holds none."""
    return dict(zip(message.name, message.velocity)) if len(message.name) == len(message.velocity) else {}


def from_joint_state(message: Any) -> dict[str, float]:
    """Returns the positions of a sensor_msgs JointState by joint [rad], [m].

    Raises:
        MissingObservation: it has not as many positions as names.
    """
    if len(message.name) != len(message.position):
        raise MissingObservation(f"joint states must have one position a name, got {len(message.position)} for {len(message.name)}")
    return dict(zip(message.name, message.position))


def to_joint_trajectory(trajectory: Trajectory) -> Any:
    """Returns a trajectory as trajectory_msgs JointTrajectory."""
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    message = JointTrajectory(joint_names=list(trajectory.joint_names))
    message.header.stamp = to_time(trajectory.stamp_s)
    velocities = None if trajectory.velocities is None else trajectory.velocities.tolist()
    # The constructor of a waypoint copies what it is given, and makes another duration: fields are set instead, for the arm waits for this.
    for index, (time_s, positions) in enumerate(zip(trajectory.times_s.tolist(), trajectory.positions.tolist())):
        point = JointTrajectoryPoint()
        point.positions = array("d", positions)
        if velocities is not None:
            point.velocities = array("d", velocities[index])
        since_start = point.time_from_start
        since_start.sec, since_start.nanosec = divmod(round(time_s * 1e9), NANOSECONDS)
        message.points.append(point)
    return message


def from_joint_trajectory(message: Any) -> Trajectory:
    """Returns a trajectory_msgs JointTrajectory as arrays.

    Raises:
        InvalidChunk: no waypoint, waypoints of different lengths, some with and some without velocities, accelerations or efforts (which
            nothing here plays), or what `Trajectory` refuses.
    """
    names, points = tuple(message.joint_names), message.points
    for index, point in enumerate(points):
        for field in ("accelerations", "effort"):
            if len(getattr(point, field)):
                raise InvalidChunk(f"waypoints must have positions and velocities alone, got {field} in waypoint {index}")
    positions = _rows([point.positions for point in points], len(names), "positions")
    with_velocities = [bool(len(point.velocities)) for point in points]
    if any(with_velocities) and not all(with_velocities):
        raise InvalidChunk(f"all waypoints must have velocities or none, got {sum(with_velocities)} of {len(points)} with them")
    velocities = _rows([point.velocities for point in points], len(names), "velocities") if any(with_velocities) else None
    times = np.array([to_seconds(point.time_from_start) for point in points])
    return Trajectory(names, positions, velocities, times, to_seconds(message.header.stamp))


def to_pose(position: NDArray[np.float64], quaternion: NDArray[np.float64], stamp_s: float, frame_id: str) -> Any:
    """Returns a pose as geometry_msgs PoseStamped.

    Args:
        position: [m], (3,).
        quaternion: w, x, y, z; in the message w stands last.
        stamp_s: when it was so [s].
        frame_id: that it is given in.
    """
    from geometry_msgs.msg import PoseStamped

    message = PoseStamped()
    message.header.stamp, message.header.frame_id = to_time(stamp_s), frame_id
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = map(float, position)
    turn.w, turn.x, turn.y, turn.z = map(float, quaternion)
    return message


def from_pose(message: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns position [m] (3,) and quaternion (w, x, y, z) of a geometry_msgs PoseStamped."""
    point, turn = message.pose.position, message.pose.orientation
    return np.array([point.x, point.y, point.z]), np.array([turn.w, turn.x, turn.y, turn.z])


def to_image(image: NDArray[np.uint8], stamp_s: float, frame_id: str) -> Any:
    """Returns an image (height, width, 3), red first, as sensor_msgs Image."""
    from sensor_msgs.msg import Image

    height, width, _ = image.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=array("B", image.tobytes()))
    message.header.stamp, message.header.frame_id = to_time(stamp_s), frame_id
    return message


def from_image(message: Any) -> NDArray[np.uint8]:
    """Returns a sensor_msgs Image as (height, width, 3) uint8, red first.

    Raises:
        MissingObservation: another encoding than rgb8 and bgr8, or fewer bytes than its size says.
    """
    if message.encoding not in _CHANNELS:
        raise MissingObservation(f"the encoding of an image must be one of {tuple(_CHANNELS)}, got {message.encoding!r}")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if message.step < 3 * message.width or len(data) != message.step * message.height:
        size = f"{message.width} x {message.height}, {message.step} bytes a row"
        raise MissingObservation(f"an image must hold all its rows ({size}), got {len(data)} bytes")
    rows = data.reshape(message.height, message.step)[:, : 3 * message.width]
    return rows.reshape(message.height, message.width, 3)[:, :, _CHANNELS[message.encoding]]


def to_chunk_info(record: ChunkRecord, stamp_s: float) -> Any:
    """Returns what is known of a chunk as a diagnostic_msgs DiagnosticArray with one status, whose keys are the fields of the record.

    Args:
        record: of a published or refused chunk; None becomes an empty value.
        stamp_s: present time [s].
    """
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    if record.stamp_s is not None:
        values["stamp_s"] = to_seconds(to_time(record.stamp_s))  # as the trajectory's own stamp reads, digit by digit: it identifies it
    level = 0 if record.verdict == PUBLISHED else 1  # OK and WARN of DiagnosticStatus
    return to_diagnostics("chunk", level, record.message or record.verdict, values, stamp_s)


def from_chunk_info(message: Any) -> ChunkRecord:
    """Returns the record that `to_chunk_info` made a message of.

    Raises:
        InvalidChunk: a key that is missing, unknown or no number, or a control_dt_s that is not above 0.
    """
    kinds: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(("execute_horizon", "chunk_size", "dropped_steps"), int),
        **{"verdict": str, "message": str, "asynchronous": to_bool},
    }
    try:
        values = {pair.key: pair.value for pair in message.status[0].values}
        read = {key: kinds.get(key, float)(value) if value or kinds.get(key) is str else None for key, value in values.items()}
        record = ChunkRecord(**read)  # type: ignore[arg-type]
    except (IndexError, TypeError, ValueError) as error:
        raise InvalidChunk(f"chunk_info must hold one status with the keys of a chunk's record: {error}") from error
    if record.control_dt_s is not None and not (math.isfinite(record.control_dt_s) and record.control_dt_s > 0):
        raise InvalidChunk(f"control_dt_s of chunk_info must be a finite number above 0, got {record.control_dt_s}")
    return record


def to_diagnostics(name: str, level: int, words: str, values: dict[str, Any], stamp_s: float) -> Any:
    """Returns a diagnostic_msgs DiagnosticArray with one status.

    Args:
        name: of the status.
        level: 0 OK, 1 WARN, 2 ERROR, 3 STALE.
        words: its message.
        values: by key; None becomes an empty value, a float keeps all its digits.
        stamp_s: present time [s].
    """
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    pairs = [KeyValue(key=key, value="" if value is None else str(value)) for key, value in values.items()]
    message = DiagnosticArray(status=[DiagnosticStatus(level=bytes([level]), name=name, message=words, values=pairs)])
    message.header.stamp = to_time(stamp_s)
    return message


def _parts(seconds: float) -> dict[str, int]:
    sec, nanosec = divmod(round(seconds * 1e9), NANOSECONDS)
    return {"sec": sec, "nanosec": nanosec}


def _rows(rows: list[Any], num_joints: int, name: str) -> NDArray[np.float64]:
    lengths = {len(row) for row in rows} - {num_joints}
    if lengths:
        raise InvalidChunk(f"{name} of each waypoint must have {num_joints} numbers, one a joint, got {min(lengths)}")
    return np.array(rows, dtype=np.float64).reshape(len(rows), num_joints)
