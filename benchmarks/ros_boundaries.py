"""Measures what a joint's command does where one chunk takes over from another, for both ways controllers replace a trajectory.

Chunks that have nothing to do with each other (random walks of targets, each beginning elsewhere) follow one another with random
inference times; messages take up to 15 ms to the controller. A controller is asked at 1 kHz where it tells the joints to be. At each
replacement the command just before is compared with the one just after at the same instant; over the whole motion, the change of velocity
in a millisecond with what the acceleration limit allows in it. Goal: a jump is at most what the acceleration limit allows in one control
step, a dt in velocity and a dt^2 / 2 in position.

    python benchmarks/ros_boundaries.py
    python benchmarks/ros_boundaries.py --boundaries 1000 --points-per-step 5 --json runs/ros_boundaries.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from policytrim_gym.files import write_json_atomic
from policytrim_gym.robot.motion_limiter import Reference
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.chunk_executor import ChunkExecutor
from policytrim_ros.control.chunk_gate import ChunkAnswer, ChunkGate
from policytrim_ros.control.commands import Ask, Publish
from policytrim_ros.control.executor_config import ExecutorConfig
from policytrim_ros.control.latency_estimator import LatencyEstimator
from policytrim_ros.control.motion_state import MeasuredState
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.control.watchdog import Watchdog
from policytrim_ros.sim.trajectory_player import TrajectoryPlayer

DT_S, TICK_S, SAMPLE_S = 0.05, 0.01, 0.001
JUST_S = 1e-6  # before a stamp [s]
CHUNK_SIZE = 32
JOINTS = ActionJoints(load_robot("policytrim_arm"), gripper_controller=False)
FINGERS = JOINTS.robot.config.gripper.joints
COLUMNS = [*range(JOINTS.robot.dof), *[JOINTS.robot.dof] * len(FINGERS)]
ACCELERATION = JOINTS.limits.acceleration[COLUMNS]


class Arm:
    """A controller that follows perfectly, and what its command did at each replacement.

    Args:
        replacement: "hard" or "stamp".
        now_s: present time [s].
    """

    def __init__(self, replacement: Any, now_s: float) -> None:
        home = np.append(JOINTS.robot.home, [JOINTS.robot.config.gripper.open] * len(FINGERS))
        self._player = TrajectoryPlayer((*JOINTS.robot.config.joints, *FINGERS), home, now_s, replacement)
        self._waiting: list[tuple[float, Trajectory]] = []
        self.jumps: list[Reference] = []
        self.motion: list[Reference] = []

    def send(self, trajectory: Trajectory, arrival_s: float) -> None:
        """Puts a message on its way."""
        self._waiting.append((arrival_s, trajectory))

    def advance(self, times_s: np.ndarray) -> None:
        """Plays until the last of these times, a multiple of the sampling period apart each [s]."""
        for at_s in times_s:
            while self._waiting and max(self._waiting[0][0], self._waiting[0][1].stamp_s) <= at_s:
                arrival_s, trajectory = self._waiting.pop(0)
                if trajectory.stamp_s > arrival_s:  # replaced later than it came
                    self._player.accept(trajectory, arrival_s)
                    before, after = (self._player.sample([instant_s]) for instant_s in (trajectory.stamp_s - JUST_S, trajectory.stamp_s))
                else:
                    before = self._player.sample([arrival_s])
                    self._player.accept(trajectory, arrival_s)
                    after = self._player.sample([arrival_s])
                self.jumps.append(Reference(*(np.abs(there - here)[0] for here, there in zip(before, after))))
            self.motion.append(self._player.sample([at_s]))

    def measured(self, now_s: float) -> MeasuredState:
        """Returns the joints as the executor sees them."""
        positions, velocities = (part[0][: JOINTS.robot.dof + 1] for part in self.motion[-1])
        return MeasuredState(positions, velocities, now_s)


def unrelated_chunk(measured: MeasuredState, random: np.random.Generator) -> np.ndarray:
    """Returns targets that begin anywhere near the arm and wander."""
    speed = np.append(JOINTS.robot.arm_limits.velocity, 5.0)
    start = np.append(measured.positions[:-1], random.random()) + random.uniform(-0.3, 0.3, 7) * speed
    targets = start + np.cumsum(random.uniform(-0.1, 0.1, (CHUNK_SIZE, 7)) * speed, axis=0)
    return np.clip(targets, JOINTS.lower, JOINTS.upper).astype(np.float32)


def run(replacement: str, num_boundaries: int, points_per_step: int, random: np.random.Generator, start_s: float) -> tuple[Arm, int, float]:
    """Runs until so many chunks took over from another in motion; returns the arm, the refused answers and the time that passed [s]."""
    settings: dict[str, Any] = {"points_per_step": points_per_step, "replacement": replacement}
    executor = ChunkExecutor(
        ExecutorConfig(DT_S, CHUNK_SIZE, execute_horizon=12, max_refusals=10**9, **settings),
        JOINTS,
        ChunkGate(JOINTS, CHUNK_SIZE),
        Watchdog({"joint_states": 0.2}, {"policy": 5.0}),
        LatencyEstimator(DT_S, 0.2),
    )
    arm, answers, refused, now_s = Arm(replacement, start_s), [], 0, start_s
    executor.activate(now_s)
    executor.start(now_s)
    while len(arm.jumps) < num_boundaries:
        arm.advance(now_s + SAMPLE_S * np.arange(1, round(TICK_S / SAMPLE_S) + 1))
        now_s += TICK_S
        executor.joints_arrived(arm.measured(now_s), now_s)
        commands = executor.observation_arrived(now_s, now_s)
        while answers and answers[0][0] <= now_s:
            commands += executor.answer_arrived(answers.pop(0)[1], now_s)
        for command in commands + executor.tick(now_s):
            if isinstance(command, Ask):
                chunk = unrelated_chunk(arm.measured(now_s), random)
                answers.append((now_s + random.uniform(0.02, 0.25), ChunkAnswer(chunk, JOINTS.labels, command.observation_stamp_s)))
            elif isinstance(command, Publish):
                arm.send(command.arm, now_s + random.uniform(0.0, 0.015))
            else:
                refused += 1
    return arm, refused, now_s - start_s


def figures(arm: Arm) -> dict[str, float]:
    """Returns the largest jumps as shares of what the acceleration limit allows."""
    positions, velocities = (np.array([jump[part] for jump in arm.jumps]) for part in range(2))
    speeds = np.concatenate([state.velocities for state in arm.motion])
    return {
        "boundaries": len(arm.jumps),
        "position_jump": float((positions / (ACCELERATION * DT_S**2 / 2)).max()),
        "velocity_jump": float((velocities / (ACCELERATION * DT_S)).max()),
        "velocity_change_in_1_ms": float((np.abs(np.diff(speeds, axis=0)) / (ACCELERATION * SAMPLE_S)).max()),
    }


def main() -> int:
    """Measures both controllers, prints a table, and returns 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boundaries", type=int, default=1000, help="of each controller")
    parser.add_argument("--points-per-step", type=int, default=1)
    parser.add_argument("--start", type=float, default=1.79e9, help="present time, which decides how finely times are resolved [s]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    results = {}
    print("controller  boundaries  position jump  velocity jump  velocity change in 1 ms   (largest, share of the limit)")
    for replacement in ("hard", "stamp"):
        random = np.random.default_rng(arguments.seed)
        arm, refused, duration_s = run(replacement, arguments.boundaries, arguments.points_per_step, random, arguments.start)
        results[replacement] = {**figures(arm), "refused": refused, "duration_s": duration_s}
        found = results[replacement]
        print(
            f"{replacement:10}  {found['boundaries']:10}  {found['position_jump']:13.2g}  {found['velocity_jump']:13.2g}  "
            f"{found['velocity_change_in_1_ms']:23.4f}   {refused} refused, {duration_s:.0f} s of motion"
        )
    if arguments.json:
        write_json_atomic(arguments.json, {**results, "seed": arguments.seed, "start_s": arguments.start})
    return int(any(max(found["position_jump"], found["velocity_jump"]) > 1.0 for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
