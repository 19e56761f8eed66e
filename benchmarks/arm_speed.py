"""Measures env steps a second of the arm on one core, beside the bare engine, and images a second of its cameras.

The bare loop writes the commands of the same motion to the engine's actuators and makes the same physics steps, in the same scene:
`mj_step` for MuJoCo, `stepSimulation` for PyBullet, nothing else. The motion is the scripted expert's on push and pick-place, so that
things touch. Environment and bare loop take turns chunk by chunk, so that a change in the machine's load meets both, and must come to the
same place. CPU time is compared, which other processes disturb least. Goals: 1,500 (MuJoCo) and 600 (PyBullet) env steps a second without
images, and a ratio to the bare loop of at least 0.7, over all chunks of a task.

    python benchmarks/arm_speed.py
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import patch

import mujoco
import numpy as np
import pybullet
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.envs.arm.tasks import CAMERAS, OBJECT

GOALS = {"mujoco": 1500.0, "pybullet": 600.0}
RATIO = 0.7
TASKS = ("push", "pick-place")
IMAGE_SIZES = (96, 224)


class MujocoLoop:
    """Records what the actuators are told in each physics step, and plays it in MuJoCo alone."""

    def __init__(self) -> None:
        self.commands: list[NDArray[np.float64]] = []

    def recording(self) -> Any:
        """Returns a context in which every physics step is recorded."""
        real_step = mujoco.mj_step

        def step(model: Any, data: Any) -> None:
            self.commands.append(np.array(data.ctrl))
            real_step(model, data)

        return patch.object(mujoco, "mj_step", step)

    def play(self, engine: Any, steps: slice) -> None:
        """Makes the recorded physics steps."""
        model, data, control, step = engine.model, engine.data, engine.data.ctrl, mujoco.mj_step
        for command in self.commands[steps]:
            control[:] = command
            step(model, data)


class PybulletLoop:
    """Records what the motors are told in each physics step, and plays it in PyBullet alone."""

    def __init__(self) -> None:
        self.commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def recording(self) -> Any:
        """Returns a context in which every physics step is recorded."""
        real_write = pybullet.setJointMotorControlArray

        def write(*arguments: Any, **settings: Any) -> None:
            self.commands.append((arguments, settings))
            real_write(*arguments, **settings)

        return patch.object(pybullet, "setJointMotorControlArray", write)

    def play(self, engine: Any, steps: slice) -> None:
        """Makes the recorded physics steps."""
        world, write, step = engine.client, pybullet.setJointMotorControlArray, pybullet.stepSimulation
        for arguments, settings in self.commands[steps]:
            settings["physicsClientId"] = world  # recorded in another
            write(*arguments, **settings)
            step(world)


class Times(NamedTuple):
    """CPU time of each chunk [s] and how many env steps they are together."""

    env_s: list[float]
    bare_s: list[float]
    num_steps: int


def record(env: ArmEnv, options: dict[str, Any]) -> tuple[list[NDArray[np.float32]], MujocoLoop | PybulletLoop]:
    """Has the expert do an episode; returns its actions and the bare loop of the same motion."""
    expert = env.make_expert()
    observation, _ = env.reset(options=options)
    actions, done = [], False
    loop = MujocoLoop() if env.engine_name == "mujoco" else PybulletLoop()
    with loop.recording():
        while not done:
            actions.append(expert.action(observation))
            observation, _, terminated, truncated, _ = env.step(actions[-1])
            done = terminated or truncated
    return actions, loop


def run_steps(env: ArmEnv, actions: list[NDArray[np.float32]]) -> None:
    """Makes env steps."""
    for action in actions:
        env.step(action)


def cpu_s(run: Callable[..., Any], *arguments: Any) -> float:
    """Returns the CPU time of a call [s]."""
    started_s = time.process_time()
    run(*arguments)
    return time.process_time() - started_s


def measure(engine: str, task: str, episodes: int, chunk: int) -> Times:
    """Times whole chunks of the expert's episodes in an environment and in the bare engine of another."""
    env, bare = ArmEnv(task, engine), ArmEnv(task, engine)
    env_s: list[float] = []
    bare_s: list[float] = []
    for episode in range(episodes + 1):
        options = {"split": "train", "initial_state": episode}
        actions, loop = record(env, options)
        substeps = len(loop.commands) // len(actions)
        env.reset(options=options)
        bare.reset(options=options)
        for start in range(0, len(actions) - chunk + 1, chunk):
            physics_steps = slice(start * substeps, (start + chunk) * substeps)
            sides: list[tuple[list[float], Callable[..., None], Any, Any]] = [
                (env_s, run_steps, env, actions[start : start + chunk]),
                (bare_s, loop.play, bare.engine, physics_steps),
            ]
            # Whoever runs second finds warmer caches, so they take turns.
            for times, run, subject, steps in sides if len(env_s) % 2 else reversed(sides):
                times.append(cpu_s(run, subject, steps))
            require_same_place(env, bare)
        if episode == 0:  # the first one warms up
            env_s.clear()
            bare_s.clear()
    env.close()
    bare.close()
    return Times(env_s, bare_s, chunk * len(env_s))


def require_same_place(env: ArmEnv, bare: ArmEnv) -> None:
    """Raises RuntimeError when joints or object of two environments are not in the same place."""
    mujoco_only = [each for each in (env, bare) if each.engine_name == "mujoco"]
    for each in mujoco_only:
        mujoco.mj_kinematics(each.engine.model, each.engine.data)  # type: ignore[attr-defined]  # mj_step leaves older poses
    one, other = (np.concatenate([*each.engine.joint_state(), *each.engine.body_pose(OBJECT)]) for each in (env, bare))
    if not np.allclose(one, other, rtol=0.0, atol=1e-9):
        raise RuntimeError(f"environment and bare loop moved differently: joints and object {one} and {other}")


def draw(env: ArmEnv, camera: str, size: int, num_images: int) -> None:
    """Draws the present scene again and again."""
    for _ in range(num_images):
        env.engine.render(camera, size, size)


def print_images(engine: str, num_images: int) -> None:
    """Prints how many images a second of CPU time each camera draws, in software."""
    env = ArmEnv("pick-place", engine)
    env.reset(options={"split": "train", "initial_state": 0})
    for camera in CAMERAS:
        for size in IMAGE_SIZES:
            draw(env, camera.name, size, num_images=1)  # makes the renderer
            rate = num_images / cpu_s(draw, env, camera.name, size, num_images)
            print(f"{engine}, camera {camera.name}, {size} x {size} pixels: {rate:.0f} images/s", flush=True)
    env.close()


def main() -> int:
    """Prints the figures; returns 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20, help="of each engine and task")
    parser.add_argument("--chunk", type=int, default=8, help="env steps between turns")
    parser.add_argument("--images", type=int, default=100, help="of each engine, camera and size")
    arguments = parser.parse_args()
    missed = False
    for engine, goal in GOALS.items():
        for task in TASKS:
            times = measure(engine, task, arguments.episodes, arguments.chunk)
            env_rate, bare_rate = times.num_steps / sum(times.env_s), times.num_steps / sum(times.bare_s)
            low, paired, high = np.percentile(np.divide(times.bare_s, times.env_s), [25, 50, 75])
            print(
                f"{engine}, {task}: {env_rate:.0f} env steps/s (goal {goal:.0f}), bare engine {bare_rate:.0f}; "
                f"ratio {env_rate / bare_rate:.3f} (goal {RATIO}), "
                f"paired over {len(times.env_s)} chunks: median {paired:.3f}, quartiles {low:.3f} to {high:.3f}",
                flush=True,
            )
            missed |= env_rate < goal or env_rate / bare_rate < RATIO
    for engine in GOALS:
        print_images(engine, arguments.images)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
