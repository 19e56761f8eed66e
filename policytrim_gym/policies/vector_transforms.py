"""Transforms of states and actions: numbers along the last axis, so that a chunk (H, n) goes through as one vector (n,) does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MismatchedTransform
from policytrim_gym.policies.norm_statistics import NormStatistics

Vector = NDArray[Any]
EnvArray = Annotated[Vector, "by its key in the environment's observation"]
"""An argument that a map gives as a key, and that each call reads from the observation."""

STD_EPSILON = 1e-6  # openpi's, added to every spread so that a constant number can be divided by its own

GripperConvention = Literal["0_closed_1_open", "0_open_1_closed", "minus1_closed_1_open", "minus1_open_1_closed"]
CLOSED_AND_OPEN: dict[str, tuple[float, float]] = {
    "0_closed_1_open": (0.0, 1.0),
    "0_open_1_closed": (1.0, 0.0),
    "minus1_closed_1_open": (-1.0, 1.0),
    "minus1_open_1_closed": (1.0, -1.0),
}


def select(values: Vector, indices: tuple[int, ...]) -> Vector:
    """Takes the numbers at the indices, in their order: (..., n) to (..., len(indices)). An index may come twice."""
    _check_indices(values, indices)
    return values[..., list(indices)]


def take(values: Vector, count: int) -> Vector:
    """Takes the first numbers, (..., n) to (..., count): the real actions of a chunk that was padded; inverse of `pad_to`.

    pi0 and pi0.5 predict 32 numbers whatever the robot has.
    """
    if not 1 <= count <= values.shape[-1]:
        raise MismatchedTransform(f"count must be in 1..{values.shape[-1]}, got {count}")
    return values[..., :count]


def pad_to(values: Vector, size: int) -> Vector:
    """Appends zeros, (..., n) to (..., size), as pi0 takes states; `take` takes them off again."""
    missing = size - values.shape[-1]
    if missing < 0:
        raise MismatchedTransform(f"size must be at least the {values.shape[-1]} numbers that are there, got {size}")
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])


def reorder(values: Vector, order: tuple[int, ...]) -> Vector:
    """Puts joints into another order: number i of the result is number order[i] of the values; inverse of `restore_order`.

    Unlike `select`, it refuses an order that loses a number or has one twice.
    """
    _check_order(values, order)
    return values[..., list(order)]


def restore_order(values: Vector, order: tuple[int, ...]) -> Vector:
    """Undoes `reorder` with the same order, so that a state and the actions of a map share one list."""
    _check_order(values, order)
    return values[..., np.argsort(order)]


def invert(values: Vector, indices: tuple[int, ...]) -> Vector:
    """Changes the sign of the numbers at the indices: a joint that turns the other way, a gripper in -1..1. Its own inverse."""
    _check_indices(values, indices)
    inverted = np.array(values, dtype=np.float64)
    inverted[..., list(indices)] *= -1.0
    return inverted


def clip(values: Vector, low: float, high: float) -> Vector:
    """Cuts every number to low..high, as DROID's controller takes actions."""
    if low > high:
        raise MismatchedTransform(f"low must not be above high, got {low} and {high}")
    return np.clip(values, low, high)


def normalize_z_score(values: Vector, statistics: NormStatistics) -> Vector:
    """Returns (x - mean) / (std + 1e-6), as pi0 takes states; inverse of `unnormalize_z_score`.

    Here and in the three below, numbers behind those of the statistics (padding) pass unchanged, and statistics may be longer than the
    values. Source: `Normalize` and `Unnormalize` of `openpi/transforms.py`.
    """
    mean, std = _padded(values, (statistics.mean, 0.0), (statistics.std, 1.0 - STD_EPSILON))
    return (values - mean) / (std + STD_EPSILON)


def unnormalize_z_score(values: Vector, statistics: NormStatistics) -> Vector:
    """Returns x * (std + 1e-6) + mean, for pi0's actions; inverse of `normalize_z_score`."""
    mean, std = _padded(values, (statistics.mean, 0.0), (statistics.std, 1.0 - STD_EPSILON))
    return values * (std + STD_EPSILON) + mean


def normalize_quantile(values: Vector, statistics: NormStatistics) -> Vector:
    """Returns 2 (x - q01) / (q99 - q01 + 1e-6) - 1, as pi0.5 and pi0-FAST take states; inverse of `unnormalize_quantile`."""
    low, spread = _quantiles(values, statistics)
    return 2.0 * (values - low) / spread - 1.0


def unnormalize_quantile(values: Vector, statistics: NormStatistics) -> Vector:
    """Returns (x + 1) / 2 * (q99 - q01 + 1e-6) + q01, for actions of pi0.5 and pi0-FAST; inverse of `normalize_quantile`."""
    low, spread = _quantiles(values, statistics)
    return (values + 1.0) / 2.0 * spread + low


def quaternion_to_axis_angle(quaternion: Vector) -> Vector:
    """Turns a unit quaternion (x, y, z, w), (..., 4), into axis times angle [rad], (..., 3), as LIBERO's states hold rotations.

    With the angle 2 acos(w) in 0..2 pi, the convention of robosuite's `quat2axisangle`: q and -q are one rotation but two results, and a
    model trained on one must not get the other. No rotation gives zeros.
    """
    if quaternion.shape[-1] != 4:
        raise MismatchedTransform(f"expected quaternions (..., 4) as x, y, z, w, got shape {quaternion.shape}")
    cosine = np.clip(np.asarray(quaternion[..., 3:], dtype=np.float64), -1.0, 1.0)
    sine = np.sqrt(1.0 - cosine**2)
    turns = sine > 0.0
    return np.where(turns, quaternion[..., :3] * 2.0 * np.arccos(cosine) / np.where(turns, sine, 1.0), 0.0)


def convert_gripper(values: Vector, model: GripperConvention, env: GripperConvention, index: int = -1) -> Vector:
    """Carries a gripper command from the model's convention to the environment's, linearly; swapped, it is its own inverse.

    LIBERO and Meta-World close at 1 and open at -1; DROID closes at 1 and opens at 0; PolicyTrim/Arm-v0 closes at 0 and opens at 1, as
    the data of OpenVLA does.

    Args:
        values: (..., n).
        model, env: such as "0_closed_1_open".
        index: which number is the gripper's.
    """
    _check_indices(values, (index,))
    (closed, opened), (closed_env, open_env) = CLOSED_AND_OPEN[model], CLOSED_AND_OPEN[env]
    converted = np.array(values, dtype=np.float64)
    converted[..., index] = closed_env + (converted[..., index] - closed) / (opened - closed) * (open_env - closed_env)
    return converted


def binarize(values: Vector, threshold: float, low: float = 0.0, high: float = 1.0, index: int = -1) -> Vector:
    """Makes one number `high` where it is above the threshold and `low` elsewhere: a gripper that only opens or closes.

    openpi's DROID client does so at 0.5; OpenVLA does at 0 in -1..1.
    """
    _check_indices(values, (index,))
    binary = np.array(values, dtype=np.float64)
    binary[..., index] = np.where(binary[..., index] > threshold, high, low)
    return binary


def delta_to_absolute(actions: Vector, state: EnvArray, indices: tuple[int | None, ...]) -> Vector:
    """Adds the state at the time of the prediction to every action of a chunk; inverse of `absolute_to_delta`.

    pi0's deltas all start from that one state, not from the action before. Source: `AbsoluteActions` of `openpi/transforms.py`.

    Args:
        actions: (H, n).
        state: (m,), read from the environment's observation.
        indices: for each of the first numbers of an action its place in the state, None where it is absolute already (a gripper);
            numbers behind them stay.
    """
    return actions + _origins(actions, state, indices)


def absolute_to_delta(actions: Vector, state: EnvArray, indices: tuple[int | None, ...]) -> Vector:
    """Subtracts the state at the time of the prediction from every action of a chunk; inverse of `delta_to_absolute`."""
    return actions - _origins(actions, state, indices)


def _origins(actions: Vector, state: Vector, indices: tuple[int | None, ...]) -> Vector:
    if len(indices) > actions.shape[-1]:
        raise MismatchedTransform(f"indices must be at most the {actions.shape[-1]} numbers of an action, got {len(indices)}")
    if state.ndim != 1:
        raise MismatchedTransform(f"the state must be a vector, got shape {state.shape}")
    _check_indices(state, tuple(index for index in indices if index is not None))
    origins = np.zeros(actions.shape[-1])
    for position, index in enumerate(indices):
        if index is not None:
            origins[position] = state[index]
    return origins


def _padded(values: Vector, *rows: tuple[tuple[float, ...], float]) -> tuple[Vector, ...]:
    """Returns each row cut or filled to the numbers of the values."""
    size = values.shape[-1]
    return tuple(np.array([*row[:size], *[fill] * (size - len(row))]) for row, fill in rows)


def _quantiles(values: Vector, statistics: NormStatistics) -> tuple[Vector, Vector]:
    """Returns q01 and q99 - q01 + 1e-6; behind the statistics -1 and 2, between which the map is the identity."""
    if statistics.q01 is None or statistics.q99 is None:
        raise MismatchedTransform("the statistics have no q01 and q99; a model normalised by z-scores takes the z_score transforms")
    spreads = tuple(high - low + STD_EPSILON for low, high in zip(statistics.q01, statistics.q99))
    low, spread = _padded(values, (statistics.q01, -1.0), (spreads, 2.0))
    return low, spread


def _check_indices(values: Vector, indices: tuple[int, ...]) -> None:
    size = values.shape[-1]
    wrong = [index for index in indices if not -size <= index < size]
    if wrong:
        raise MismatchedTransform(f"index {wrong[0]} is beyond the {size} numbers that are there")


def _check_order(values: Vector, order: tuple[int, ...]) -> None:
    if sorted(order) != list(range(values.shape[-1])):
        raise MismatchedTransform(f"order must have each of 0..{values.shape[-1] - 1} once, got {list(order)}")
