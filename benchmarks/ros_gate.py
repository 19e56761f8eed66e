"""Measures what the gates refuse: chunks with an injected fault, of fifteen kinds, and clean ones; and how long a check takes, in CPU time.

Clean chunks are random walks of joint targets in float32, up to the bounds: targets on the position limits, steps and starts as large as
is allowed, taken over in mid-motion. A fault is put into a clean chunk at a random place. Goals: every fault is refused for its own reason,
no clean chunk is, and p99 of checking 50 x 7 targets and the motion that they become is at most 1 ms.

    python benchmarks/ros_gate.py
    python benchmarks/ros_gate.py --faulty 1000 --clean 10000 --json runs/ros_gate.json
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from policytrim_gym.files import write_json_atomic
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.chunk_gate import ChunkAnswer, ChunkGate, Refusal, RefusalReason
from policytrim_ros.control.chunk_trajectory import ChunkPlanner
from policytrim_ros.control.motion_state import MeasuredState, MotionState
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.control.trajectory_gate import TrajectoryGate

CHUNK_SIZE = 50
DT_S = 0.05
JOINTS = ActionJoints(load_robot("policytrim_arm"))
PLANNER = ChunkPlanner(JOINTS.limits, DT_S)
TRAJECTORY_GATE = TrajectoryGate(JOINTS.names, JOINTS.limits, DT_S)


@dataclass
class Case:
    """A chunk on its way to the arm, and what is known at that moment.

    Args:
        answer: of the policy.
        measured: joints.
        commanded: where the joints are commanded to be when the chunk takes over.
        first_step: of the chunk that takes over.
        now_s: present time [s].
        gate: of chunks, with what it accepted before.
        trajectory: what is sent instead of the motion that the targets become; None: that motion.
    """

    answer: ChunkAnswer
    measured: MeasuredState
    commanded: MotionState
    first_step: int
    now_s: float
    gate: ChunkGate
    trajectory: Trajectory | None = None

    def motion(self) -> Trajectory:
        """Returns what is sent."""
        targets = JOINTS.targets(self.answer.actions)[self.first_step :]
        return self.trajectory or JOINTS.trajectory(PLANNER.plan(targets, self.commanded), self.now_s)

    def refusal(self) -> Refusal | None:
        """Returns what both gates say."""
        refusal = self.gate.check(self.answer, self.measured, self.first_step, 0.0, self.now_s)
        return refusal or TRAJECTORY_GATE.check(self.motion(), self.commanded)


def clean_case(random: np.random.Generator, first_step: int | None = None) -> Case:
    """Returns a chunk that nothing is wrong with; `first_step` None draws one."""
    now_s = random.uniform(1.0, 2e9)
    lower, upper, speed = JOINTS.lower, JOINTS.upper, np.append(JOINTS.robot.arm_limits.velocity, np.inf)
    gate = ChunkGate(JOINTS, CHUNK_SIZE)
    limiter = MotionLimiter(JOINTS.limits, DT_S, [DT_S])
    limiter.reset(random.uniform(JOINTS.limits.lower, JOINTS.limits.upper))
    goal = random.uniform(JOINTS.limits.lower, JOINTS.limits.upper)
    for _ in range(int(random.integers(0, 8))):
        limiter.advance(goal)
    commanded = MotionState(limiter.position, limiter.velocity)
    measured = MeasuredState(commanded.positions + random.normal(0.0, 1e-3, 7), commanded.velocities, now_s - random.uniform(0, 0.05))
    largest = np.minimum(speed, 10.0) * np.append(np.full(6, random.choice([0.02, 0.2, 1.0])), 0.1)
    steps = random.uniform(-largest, largest, (CHUNK_SIZE, 7)) * gate.config.target_step_s
    steps[random.random(CHUNK_SIZE) < 0.1] *= 0.0  # pauses
    first_step = int(random.integers(0, CHUNK_SIZE - 1)) if first_step is None else first_step
    start = np.append(measured.positions[:-1], random.random())
    start[:-1] += random.uniform(-0.95, 0.95, 6) * speed[:-1] * gate.config.start_jump_s
    actions = np.empty((CHUNK_SIZE, 7), dtype=np.float32)
    for index in (*range(first_step, CHUNK_SIZE), *range(first_step - 1, -1, -1)):
        start = np.clip(start, lower, upper)
        actions[index] = start
        start = actions[first_step] - steps[index] if index == CHUNK_SIZE - 1 else start + steps[index]
    stamp_s = now_s - random.uniform(0.0, 0.9)
    gate.accept(stamp_s - 0.1)
    return Case(ChunkAnswer(actions, JOINTS.labels, stamp_s), measured, commanded, first_step, now_s, gate)


def with_value(case: Case, random: np.random.Generator, value: float) -> Case:
    """Returns the case with a number of its chunk replaced."""
    actions = np.array(case.answer.actions)
    actions[random.integers(CHUNK_SIZE), random.integers(7)] = value
    return replace(case, answer=replace(case.answer, actions=actions))


def with_shape(case: Case, rows: slice, columns: slice) -> Case:
    """Returns the case with a part of its chunk."""
    return replace(case, answer=replace(case.answer, actions=np.array(case.answer.actions)[rows, columns]))


def other_joints(case: Case, random: np.random.Generator) -> Case:
    """Two joints changed places."""
    names = list(case.answer.joint_names)
    one, other = random.choice(7, 2, replace=False)
    names[one], names[other] = names[other], names[one]
    return replace(case, answer=replace(case.answer, joint_names=tuple(names)))


def beyond_limit(case: Case, random: np.random.Generator) -> Case:
    """A target lies a little, or far, outside."""
    actions = np.array(case.answer.actions)
    column, beyond = random.integers(7), 10 ** random.uniform(-4, 3)
    outside = JOINTS.upper[column] + beyond if random.random() < 0.5 else JOINTS.lower[column] - beyond
    actions[random.integers(CHUNK_SIZE), column] = outside
    return replace(case, answer=replace(case.answer, actions=actions))


def target_jump(case: Case, random: np.random.Generator) -> Case:
    """One target of a joint is elsewhere within its range."""
    actions = np.array(case.answer.actions)
    row, column = random.integers(CHUNK_SIZE), random.integers(6)
    far = actions[row, column] > (JOINTS.lower[column] + JOINTS.upper[column]) / 2
    neighbour = actions[row - 1 if row else 1, column]
    actions[row, column] = JOINTS.lower[column] if far else JOINTS.upper[column]
    actions[row - 1 if row else 1, column] = neighbour
    return replace(case, answer=replace(case.answer, actions=actions))


def start_jump(case: Case, random: np.random.Generator) -> Case:
    """The arm is not where the chunk begins."""
    positions, column = case.measured.positions.copy(), random.integers(6)
    side = random.choice([-1.0, 1.0])
    reach = JOINTS.robot.arm_limits.velocity[column] * (case.gate.config.start_jump_s + 0.1)
    positions[column] = np.array(case.answer.actions)[case.first_step, column] + side * (reach + random.exponential(0.5))
    return replace(case, measured=replace(case.measured, positions=positions))


def old_state(case: Case, random: np.random.Generator) -> Case:
    """The joints were measured too long ago."""
    return replace(case, measured=replace(case.measured, stamp_s=case.now_s - 0.101 - random.exponential(1.0)))


def observed(case: Case, stamp_s: float) -> Case:
    """Returns the case with another stamp of its observation."""
    return replace(case, answer=replace(case.answer, observation_stamp_s=stamp_s))


def stale(case: Case, random: np.random.Generator) -> Case:
    """The observation is too old, though newer than the one before."""
    case.gate.accept(case.now_s - 1e3)
    return observed(case, case.now_s - 1.001 - random.exponential(1.0))


def duplicate(case: Case, random: np.random.Generator) -> Case:
    """The same chunk came before."""
    case.gate.accept(case.answer.observation_stamp_s)
    return case


def out_of_order(case: Case, random: np.random.Generator) -> Case:
    """A newer chunk came before."""
    case.gate.accept(case.answer.observation_stamp_s + random.uniform(1e-3, 0.5))
    return case


def with_waypoint(case: Case, row: int, column: int, position: float, velocity: float | None) -> Case:
    """Returns the case with a trajectory of explicit velocities in which one waypoint is changed."""
    motion = case.motion()
    assert motion.velocities is not None
    positions, velocities = motion.positions.copy(), motion.velocities.copy()
    positions[row, column] += position
    velocities[row, column] = velocities[row, column] if velocity is None else velocity
    return replace(case, trajectory=replace(motion, positions=positions, velocities=velocities))


def too_fast(case: Case, random: np.random.Generator) -> Case:
    """A waypoint is passed at more than the velocity limit, where no joint is near the end of its range."""
    positions = case.motion().positions[: CHUNK_SIZE - case.first_step, :6]
    room = np.minimum(positions - JOINTS.lower[:6], JOINTS.upper[:6] - positions) > 0.1
    row, column = random.choice(np.argwhere(room)).tolist()
    velocity = random.choice([-1.0, 1.0]) * JOINTS.limits.velocity[column] * (1.01 + 0.5 * random.random())
    return with_waypoint(case, row, column, 0.0, velocity)


def too_hard(case: Case, random: np.random.Generator) -> Case:
    """A waypoint near which a joint is slow is moved by what takes three times the acceleration limit."""
    motion, column = case.motion(), int(random.integers(6))
    assert motion.velocities is not None
    slow = np.abs(motion.velocities[:, column]) < 0.4 * JOINTS.limits.velocity[column]
    even = np.abs(np.diff(motion.times_s) - DT_S) < 1e-9
    rows = np.flatnonzero(slow[1:-1] & slow[:-2] & slow[2:] & even[1:] & even[:-1]) + 1
    if len(rows) == 0:  # this joint is fast to the end: the arm shall stop at once there
        return with_waypoint(case, -1, column, 0.0, 2.0 * JOINTS.limits.acceleration[column] * DT_S)
    row = int(random.choice(rows))
    side = 1.0 if motion.positions[row, column] < (JOINTS.lower[column] + JOINTS.upper[column]) / 2 else -1.0
    return with_waypoint(case, row, column, side * 0.5 * JOINTS.limits.acceleration[column] * DT_S**2, None)


FAULTS: dict[str, tuple[Callable[[Case, np.random.Generator], Case], RefusalReason]] = {
    "NaN": (lambda case, random: with_value(case, random, np.nan), RefusalReason.NOT_FINITE),
    "infinite": (lambda case, random: with_value(case, random, random.choice([-np.inf, np.inf])), RefusalReason.NOT_FINITE),
    "too short": (lambda case, random: with_shape(case, slice(random.integers(CHUNK_SIZE)), slice(None)), RefusalReason.WRONG_SHAPE),
    "column missing": (lambda case, random: with_shape(case, slice(None), slice(random.integers(7))), RefusalReason.WRONG_SHAPE),
    "joints in another order": (other_joints, RefusalReason.WRONG_JOINTS),
    "beyond a position limit": (beyond_limit, RefusalReason.POSITION_LIMIT),
    "jump between targets": (target_jump, RefusalReason.TARGET_STEP),
    "jump at the start": (start_jump, RefusalReason.START_JUMP),
    "old joint state": (old_state, RefusalReason.STALE_STATE),
    "old observation": (stale, RefusalReason.STALE_OBSERVATION),
    "observation of the future": (
        lambda case, random: observed(case, case.now_s + 0.021 + random.exponential(1.0)),
        RefusalReason.FUTURE_OBSERVATION,
    ),
    "duplicate": (duplicate, RefusalReason.DUPLICATE),
    "out of order": (out_of_order, RefusalReason.OUT_OF_ORDER),
    "too fast": (too_fast, RefusalReason.VELOCITY_LIMIT),
    "too hard": (too_hard, RefusalReason.ACCELERATION_LIMIT),
}


def check_durations_s(random: np.random.Generator, num_cases: int = 200, repeats: int = 10) -> np.ndarray:
    """Returns how long both checks of a whole chunk and its motion take, in CPU time: other processes disturb it least [s]."""
    durations_s = []
    for case in (clean_case(random, first_step=0) for _ in range(num_cases)):
        motion = case.motion()
        for _ in range(repeats):
            started_s = time.thread_time()
            refusal = case.gate.check(case.answer, case.measured, case.first_step, 0.0, case.now_s)
            refusal = refusal or TRAJECTORY_GATE.check(motion, case.commanded)
            durations_s.append(time.thread_time() - started_s)
            assert refusal is None, refusal
    return np.array(durations_s)


def main() -> int:
    """Measures, prints a table, and returns 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faulty", type=int, default=1000, help="chunks of each kind of fault")
    parser.add_argument("--clean", type=int, default=10_000, help="clean chunks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    refused = {}
    for name, (inject, reason) in FAULTS.items():
        found = [inject(clean_case(random), random).refusal() for _ in range(arguments.faulty)]
        refused[name] = sum(refusal is not None and refusal.reason is reason for refusal in found)
        print(f"{name:26} {refused[name]:6} of {arguments.faulty} refused as {reason.value}")
    refusals = [refusal for _ in range(arguments.clean) if (refusal := clean_case(random).refusal()) is not None]
    print(f"{'clean':26} {len(refusals):6} of {arguments.clean} refused", *{refusal.message for refusal in refusals[:3]}, sep="  ")
    p50, p99 = np.quantile(check_durations_s(random), (0.5, 0.99)).tolist()
    print(f"both checks of {CHUNK_SIZE} x 7: p50 {1e3 * p50:.3f} ms, p99 {1e3 * p99:.3f} ms (goal: p99 at most 1 ms)")
    figures = {"refused": refused, "faulty": arguments.faulty, "clean_refused": len(refusals), "clean": arguments.clean}
    if arguments.json:
        write_json_atomic(arguments.json, {**figures, "p50_s": p50, "p99_s": p99, "seed": arguments.seed})
    return int(any(count < arguments.faulty for count in refused.values()) or bool(refusals) or p99 > 1e-3)


if __name__ == "__main__":
    sys.exit(main())
