"""Measures env steps a second of Meta-World by how often somebody looks, and what an image and a task's first image cost.

Each line runs the same expert's actions from the same training states: with state observations, and with pixels where a policy looks every
so many steps, as it does when it executes that many actions of a chunk. CPU time is compared, which other processes disturb least; MuJoCo
draws in software unless the machine has a GPU. Settings take turns episode by episode, so that a change in the machine's load meets all.

    OMP_NUM_THREADS=1 python benchmarks/metaworld_speed.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.envs.metaworld_observer import CAMERAS
from policytrim_gym.wrappers.lazy_step import lazy_step

TASKS = (
    "door-open-v3",
    "button-press-topdown-v3",
    "drawer-close-v3",
    "drawer-open-v3",
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "window-close-v3",
)
LOOK_EVERY_STEPS = (24, 8, 4, 1)


def cpu_s(run: Callable[[], Any]) -> float:
    """Returns the CPU time of a call [s]."""
    started_s = time.process_time()
    run()
    return time.process_time() - started_s


def record(env: MetaWorldEnv, options: dict[str, Any]) -> list[NDArray[np.float32]]:
    """Returns the full-speed expert's actions of an episode."""
    observation, _ = env.reset(options=options)
    expert, actions, done = env.make_expert(), [], False
    while not done:
        actions.append(expert.action(observation))
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        done = terminated or truncated
    return actions


def play(env: MetaWorldEnv, actions: list[NDArray[np.float32]], look_every_steps: int) -> None:
    """Makes the steps of an episode; somebody looks at each `look_every_steps`th."""
    for step, action in enumerate(actions, start=1):
        lazy_step(env, action, look=step % look_every_steps == 0)


def measure_task(task: str, episodes: int, image_size: int) -> tuple[int, list[float], float, dict[str, float]]:
    """Returns the steps, the CPU time of each setting [s], that of the first image [s], and that of one image of each camera [s]."""
    state, pixels = MetaWorldEnv(task), MetaWorldEnv(task, observation="pixels", image_size=image_size)
    state.reset(seed=0)
    state.close()  # its simulation goes to the other one, so that making it is not in the time of the first image
    first_s = cpu_s(partial(pixels.reset, seed=0)) - cpu_s(partial(pixels.reset, seed=0))
    settings = [(state, 1), *((pixels, every) for every in LOOK_EVERY_STEPS)]
    times, num_steps = [0.0] * len(settings), 0
    for episode in range(episodes):
        options = {"split": "train", "initial_state": episode}
        actions = record(state, options)
        num_steps += len(actions)
        for index, (env, every) in enumerate(settings):
            env.reset(options=options)
            times[index] += cpu_s(partial(play, env, actions, every))
    images = {}
    for camera in CAMERAS:
        looking = MetaWorldEnv(task, observation="pixels", image_size=image_size, cameras=camera)
        looking.reset(seed=0)
        state.reset(seed=0)
        waiting = [np.zeros(4, dtype=np.float32)] * 20
        images[camera] = (cpu_s(partial(play, looking, waiting, 1)) - cpu_s(partial(play, state, waiting, 1))) / len(waiting)
        looking.close()
    for env in (state, pixels):
        env.close()
    return num_steps, times, first_s, images


def main() -> None:
    """Prints a line for each task, one for all, and what an image costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--episodes", type=int, default=3, help="of each task")
    parser.add_argument("--image-size", type=int, default=64, help="[pixels]")
    arguments = parser.parse_args()
    print("| task | steps | steps/s, state | " + " | ".join(f"look every {every}" for every in LOOK_EVERY_STEPS) + " | first image, s |")
    print("|---|" + "---:|" * (3 + len(LOOK_EVERY_STEPS)))
    total, total_steps, images = np.zeros(1 + len(LOOK_EVERY_STEPS)), 0, []
    for task in arguments.tasks:
        num_steps, times, first_s, image_s = measure_task(task, arguments.episodes, arguments.image_size)
        print(
            f"| {task} | {num_steps} | " + " | ".join(f"{num_steps / seconds:.0f}" for seconds in times) + f" | {first_s:.2f} |", flush=True
        )
        total += times
        total_steps += num_steps
        images.append(image_s)
    print(f"| all | {total_steps} | " + " | ".join(f"{total_steps / seconds:.0f}" for seconds in total) + " | |")
    for camera in CAMERAS:
        milliseconds = [1000 * image_s[camera] for image_s in images]
        print(f"one image of {camera}, {arguments.image_size} px: {np.mean(milliseconds):.1f} ms, at most {max(milliseconds):.1f} ms")


if __name__ == "__main__":
    main()
