"""Laws of the time-optimal duration: never more than what motion within the limits took, and tight where the optimum is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.robot.shortest_time import shortest_duration_s

VELOCITY = np.array([2.0, 2.0, 2.0, 3.0, 3.0, 3.0])
ACCELERATION = np.array([8.0, 8.0, 8.0, 12.0, 12.0, 12.0])
DT_S = 0.05


def fastest_line(way: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Returns the fastest straight line from rest, with a free end, sampled, and its duration."""
    velocity, acceleration = (np.min(limit / np.maximum(np.abs(way), 1e-9)) for limit in (VELOCITY, ACCELERATION))
    ramp = min(velocity / acceleration, math.sqrt(2 / acceleration))
    duration = ramp + (1 - 0.5 * acceleration * ramp**2) / velocity
    t = np.linspace(0, duration, math.ceil(duration / DT_S) + 1)
    line = np.where(t < ramp, 0.5 * acceleration * t**2, acceleration * ramp * (t - 0.5 * ramp))
    return line[:, None] * way, duration


def motion_within_limits(kind: str, steps: int, seed: int, substeps: int = 4) -> NDArray[np.float64]:
    """Returns joint positions at the control steps of a motion from rest that keeps its limits between them as well."""
    generator = np.random.default_rng(seed)
    h = DT_S / substeps
    position, velocity, aim = np.zeros(6), np.zeros(6), np.zeros(6)
    path = [position]
    for step in range(steps):
        if step % 10 == 0:
            aim = generator.uniform(-1, 1, 6) * VELOCITY * (generator.random() < 0.7)  # else it stops and waits
            if kind == "reversals":
                aim = np.where(np.arange(6) == 0, generator.choice([-1, 1]), 0) * VELOCITY
        for _ in range(substeps):
            acceleration = (aim - velocity) / h if kind != "shaking" else generator.choice([-1, 1], 6) * ACCELERATION
            acceleration = np.clip(acceleration, -ACCELERATION, ACCELERATION)
            acceleration = np.clip(acceleration, (-VELOCITY - velocity) / h, (VELOCITY - velocity) / h)
            position = position + velocity * h + 0.5 * acceleration * h**2
            velocity = velocity + acceleration * h
        path.append(position)
    return np.array(path)


@pytest.mark.parametrize("kind", ["stop and go", "reversals", "shaking"])
@pytest.mark.parametrize("steps", [2, 7, 40, 150])
@pytest.mark.parametrize("jitter_rad", [0.0, 1e-5])
def test_motion_within_the_limits_is_never_faster(kind: str, steps: int, jitter_rad: float) -> None:
    for seed in range(5):
        path = motion_within_limits(kind, steps, seed)
        path = (path + jitter_rad * np.random.default_rng(seed).standard_normal(path.shape)).astype(np.float32)
        assert shortest_duration_s(path, VELOCITY, ACCELERATION) <= 1.01 * steps * DT_S


@pytest.mark.parametrize("way", [[1.0, 0.5, -0.3, 0.2, 0.1, 0.0], [0.3, 0.1, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, -4.0, 0.0, 0.0, 0.0]], ids=str)
def test_the_fastest_straight_line_has_no_headroom(way: list[float]) -> None:
    path, duration = fastest_line(np.array(way))
    assert shortest_duration_s(path, VELOCITY, ACCELERATION) == pytest.approx(duration, rel=0.01)


def test_a_slow_straight_line_could_have_been_the_fastest() -> None:
    slow = np.linspace(0, 1, 200)[:, None] ** 2 * np.array([1.0, 0.5, -0.3, 0.2, 0.1, 0.0])
    _, duration = fastest_line(slow[-1])
    assert shortest_duration_s(slow, VELOCITY, ACCELERATION) == pytest.approx(duration, rel=0.03)


def test_with_a_free_end_a_line_is_only_accelerated() -> None:
    path = np.linspace(0, 1, 100)[:, None] ** 2
    assert shortest_duration_s(path, [100.0], [8.0]) == pytest.approx(math.sqrt(2 / 8), rel=0.02)
    assert shortest_duration_s(path, [1.0], [1e4]) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("kind", ["stop and go", "reversals"])
def test_a_detour_takes_no_less_than_the_straight_line(kind: str) -> None:
    for seed in range(5):
        path = motion_within_limits(kind, 60, seed)
        _, duration = fastest_line(path[-1] - path[0])
        assert shortest_duration_s(path, VELOCITY, ACCELERATION) >= 0.99 * duration


def test_twice_the_speed_and_four_times_the_acceleration_halve_the_time() -> None:
    path = motion_within_limits("stop and go", 60, seed=1)
    normal = shortest_duration_s(path, VELOCITY, ACCELERATION)
    assert shortest_duration_s(path, 2 * VELOCITY, 4 * ACCELERATION) == pytest.approx(normal / 2)


def test_pauses_and_the_pace_do_not_count() -> None:
    path = motion_within_limits("reversals", 10, seed=0)
    paused = np.concatenate([np.repeat(path[:1], 30, axis=0), path, np.repeat(path[-1:], 30, axis=0)])
    assert shortest_duration_s(paused, VELOCITY, ACCELERATION) == pytest.approx(shortest_duration_s(path, VELOCITY, ACCELERATION))


@pytest.mark.parametrize(
    "path", [np.zeros((1, 6)), np.zeros((40, 6)), np.full((40, 6), 0.3) + 1e-6 * np.eye(40, 6)], ids=["one", "still", "tiny"]
)
def test_an_arm_that_stands_still_needs_no_time(path: NDArray[np.float64]) -> None:
    assert shortest_duration_s(path, VELOCITY, ACCELERATION) == 0.0


@pytest.mark.parametrize("kind", ["stop and go", "reversals", "shaking"])
def test_toppra_finds_the_same_where_it_finds_a_solution(kind: str) -> None:
    pytest.importorskip("toppra")
    from scipy.interpolate import BSpline
    from toppra.algorithm import TOPPRA
    from toppra.constraint import JointAccelerationConstraint, JointVelocityConstraint
    from toppra.interpolator import AbstractGeometricPath

    class Spline(AbstractGeometricPath):
        dof, path_interval = 6, None

        def __init__(self, points: NDArray[np.float64]) -> None:
            points = np.concatenate([points[1:2], points, 2 * points[-1:] - points[-2:-1]])
            self.curve = BSpline(np.arange(-3.0, len(points) + 1), points, 3)
            self.path_interval = np.array([0.0, len(points) - 3.0])

        def __call__(self, s: NDArray[np.float64], order: int = 0) -> NDArray[np.float64]:
            return self.curve.derivative(order)(s) if order else self.curve(s)

    compared = 0
    for seed in range(6):
        points = motion_within_limits(kind, 40, seed)
        points = points[[0, *(np.flatnonzero(np.abs(np.diff(points / VELOCITY, axis=0)).max(axis=1) > 1e-5) + 1)]]
        if len(points) < 30:
            continue
        path = Spline(points)
        grid = np.linspace(*path.path_interval, 2 * round(path.path_interval[1]) + 1)
        limits = [JointVelocityConstraint(VELOCITY * DT_S), JointAccelerationConstraint(ACCELERATION * DT_S**2)]
        solver = TOPPRA(limits, path, gridpoints=grid, solver_wrapper="seidel")
        end = float(1 / np.max(np.abs(path(grid[-1], 1)) / (VELOCITY * DT_S)))
        sets = solver.compute_controllable_sets(0.0, end)
        solver.compute_controllable_sets = lambda *_, sets=sets: sets  # a free end: toppra's own call would fix it
        _, speed, _ = solver.compute_parameterization(math.sqrt(max(sets[0, 1], 0)), 0.0) if np.isfinite(sets).all() else (0, None, 0)
        if speed is not None:
            duration = DT_S * np.sum(2 * np.diff(grid) / (speed[1:] + speed[:-1]))
            assert shortest_duration_s(points, VELOCITY, ACCELERATION) == pytest.approx(duration, rel=5e-3)
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize(
    ("path", "velocity", "acceleration", "words"),
    [
        (np.zeros(6), VELOCITY, ACCELERATION, r"shape \(6,\)"),
        (np.zeros((0, 6)), VELOCITY, ACCELERATION, r"shape \(0, 6\)"),
        (np.full((3, 6), np.nan), VELOCITY, ACCELERATION, "a value not finite"),
        (np.zeros((3, 6)), VELOCITY[:5], ACCELERATION, "velocity_limits must be 6 finite numbers above 0"),
        (np.zeros((3, 6)), VELOCITY, 0 * ACCELERATION, "acceleration_limits must be 6 finite numbers above 0"),
        (np.zeros((3, 6)), VELOCITY, np.inf * ACCELERATION, "acceleration_limits must be 6 finite"),
    ],
)
def test_paths_and_limits_that_make_no_sense_are_refused(path, velocity, acceleration, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        shortest_duration_s(path, velocity, acceleration)
