"""A chunk executor with a clock, an arm behind a controller, a camera and a policy of the test's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.chunk_executor import ChunkExecutor
from policytrim_ros.control.chunk_gate import ChunkAnswer, ChunkGate, GateConfig
from policytrim_ros.control.commands import Ask, Command, Hold, Publish, Refused
from policytrim_ros.control.executor_config import ExecutorConfig
from policytrim_ros.control.latency_estimator import LatencyEstimator
from policytrim_ros.control.motion_state import MeasuredState, MotionState
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.control.watchdog import Watchdog
from policytrim_ros.sim.trajectory_player import TrajectoryPlayer

ROBOT = load_robot("policytrim_arm")
JOINTS = ActionJoints(ROBOT)
DT_S, TICK_S = 0.05, 0.01
FINGERS = ROBOT.config.gripper.joints

Policy = Callable[[int], np.ndarray]
"""Returns the chunk (chunk_size, dof + 1) for an observation before which the arm had run so many steps of chunks."""


class Rig:
    """Runs an executor on a clock that advances in ticks; the arm is where its controller tells it to be.

    Args:
        policy: asked with the steps that were run before its observation.
        latency_s: from asking to the answer, a number or a function of the number of the question; inf: it never comes.
        start_s: of the clock.
        replacement: of the controllers, "hard" or "stamp".
        transport_s: from publishing to the controllers.
        **settings: of `ExecutorConfig`.
    """

    def __init__(
        self,
        policy: Policy,
        latency_s: float | Callable[[int], float] = 0.1,
        start_s: float = 100.0,
        replacement: str = "hard",
        transport_s: float = 0.005,
        first_latency_s: float = 0.1,
        **settings: object,
    ) -> None:
        self.now_s = start_s
        self.config = ExecutorConfig(
            **{"control_dt_s": DT_S, "chunk_size": 16, "execute_horizon": 8, "replacement": replacement, **settings}
        )  # type: ignore[arg-type]
        self.gate = ChunkGate(JOINTS, self.config.chunk_size, GateConfig(target_step_s=10.0, start_jump_s=10.0))
        self.watchdog = Watchdog({"joint_states": 0.2, "image/front": 0.3}, {"policy": 1.0})
        latency = LatencyEstimator(DT_S, first_latency_s, margin_s=0.03)
        self.executor = ChunkExecutor(self.config, JOINTS, self.gate, self.watchdog, latency)
        self.arm = TrajectoryPlayer(ROBOT.config.joints, ROBOT.home, start_s, replacement)  # type: ignore[arg-type]
        self.gripper = TrajectoryPlayer(FINGERS, np.full(2, 0.04), start_s, replacement)  # type: ignore[arg-type]
        self.policy, self._transport_s = policy, transport_s
        self._latency = latency_s if callable(latency_s) else lambda question: latency_s
        self.silent: set[str] = set()
        self.commands: list[tuple[float, Command]] = []
        self.answers: list[tuple[float, ChunkAnswer]] = []
        self.desired: list[tuple[float, MotionState]] = []
        self._on_the_way: list[tuple[float, TrajectoryPlayer, Trajectory]] = []
        self.num_questions = 0
        self._ticks = 0

    def run(self, duration_s: float) -> None:
        """Lets time pass."""
        for _ in range(round(duration_s / TICK_S)):
            self.step()

    def step(self) -> None:
        """One tick: messages reach the controllers, joints and images reach the executor, answers come, the executor ticks."""
        self.now_s += TICK_S
        self._ticks += 1
        for message in [message for message in self._on_the_way if message[0] <= self.now_s]:
            self._on_the_way.remove(message)
            message[1].accept(message[2], message[0])
        states = [player.sample([self.now_s]) for player in (self.arm, self.gripper)]
        positions, velocities = (np.append(states[0][part][0], states[1][part][0, 0]) for part in range(2))
        self.desired.append((self.now_s, MotionState(positions, velocities)))
        if "joint_states" not in self.silent:
            self.executor.joints_arrived(MeasuredState(positions, velocities, self.now_s), self.now_s)
        if "image/front" not in self.silent and self._ticks % 3 == 0:
            self.executor.image_arrived("image/front", self.now_s, self.now_s)
            self.carry_out(self.executor.observation_arrived(self.now_s, self.now_s))
        for due in [due for due in self.answers if due[0] <= self.now_s + 1e-9]:
            self.answers.remove(due)
            self.carry_out(self.executor.answer_arrived(due[1], self.now_s))
        self.carry_out(self.executor.tick(self.now_s))

    def carry_out(self, commands: list[Command]) -> None:
        """Does what a node would."""
        for command in commands:
            self.commands.append((self.now_s, command))
            if isinstance(command, Ask):
                self._question(command)
            elif isinstance(command, (Publish, Hold)):
                assert command.gripper is not None
                for player, trajectory in ((self.arm, command.arm), (self.gripper, command.gripper)):
                    self._on_the_way.append((self.now_s + self._transport_s, player, trajectory))

    def _question(self, question: Ask) -> None:
        latency_s = self._latency(self.num_questions)
        self.num_questions += 1
        if math.isfinite(latency_s):
            actions = self.policy(self.steps_at(question.observation_stamp_s))
            answer = ChunkAnswer(actions, JOINTS.labels, question.observation_stamp_s, inference_s=latency_s)
            self.answers.append((self.now_s + latency_s, answer))

    def steps_at(self, at_s: float) -> int:
        """Returns how many steps of chunks were run before a time, rounded as those that a chunk drops."""
        run = 0.0
        records = [command.record for command in self.of(Publish)]
        for index, record in enumerate(records):
            last = record.chunk_size if self.config.asynchronous else record.execute_horizon
            end_s = record.join_s + (last - record.dropped_steps) * DT_S
            if index + 1 < len(records):
                end_s = min(end_s, records[index + 1].join_s)
            run += max(0.0, min(end_s, at_s) - record.join_s)
        return math.ceil(run / DT_S - 0.5 - 1e-6)

    def of(self, kind: type) -> list:
        """Returns the commands of a kind."""
        return [command for _, command in self.commands if isinstance(command, kind)]

    def begin(self) -> Rig:
        """Activates and starts."""
        self.executor.activate(self.now_s)
        assert self.executor.start(self.now_s)
        return self

    def on_the_wire(self) -> list[Command]:
        """Returns what was sent to the arm, in order."""
        return [command for _, command in self.sent()]

    def sent(self) -> list[tuple[float, Publish | Hold]]:
        """Returns what was sent to the arm, with the time of each [s]."""
        return [(at_s, command) for at_s, command in self.commands if isinstance(command, (Publish, Hold))]

    def verdicts(self) -> list[str]:
        """Returns the verdicts on all answers, in order."""
        return [command.record.verdict for _, command in self.commands if isinstance(command, (Publish, Refused))]


def walk(seed: int, num_steps: int = 2000) -> np.ndarray:
    """Actions within the range, as random walk, (num_steps, dof + 1)."""
    random = np.random.default_rng(seed)
    steps = random.normal(0.0, 0.1, (num_steps, 7)) * np.append(ROBOT.arm_limits.velocity, 1.0)
    walked = np.append(ROBOT.home, 1.0) + np.cumsum(steps, axis=0)
    # Reflected at the ends of the range, so that it does not stick there.
    span = JOINTS.upper - JOINTS.lower
    return JOINTS.lower + span - np.abs((walked - JOINTS.lower) % (2 * span) - span)


def following(actions: np.ndarray, chunk_size: int = 16) -> Policy:
    """Returns the policy that always goes on with the same sequence of actions."""
    return lambda step: actions[step : step + chunk_size].astype(np.float32)
