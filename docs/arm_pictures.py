"""Draws docs/images/arm-cameras.png, what both cameras see of each task in both engines: `python docs/arm_pictures.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.envs.arm.engines import ENGINES
from policytrim_gym.envs.arm.tasks import TASKS

PICTURE = Path(__file__).parent / "images" / "arm-cameras.png"
SIZES = {"front": (400, 300), "wrist": (300, 300)}
"""Width and height of each camera's image [pixels]."""

INITIAL_STATE = 3
STEPS = {"reach": 10, "push": 30, "pick-place": 48}
"""Control steps of the full-speed expert before the picture: on the way, with the object at hand."""

ENGINE_WORDS = {"mujoco": "MuJoCo", "pybullet": "PyBullet"}


def views(task: str, engine: str) -> dict[str, NDArray[np.uint8]]:
    """Returns each camera's image of a task at work in an engine, (height, width, 3)."""
    env = ArmEnv(task, engine)
    observation, _ = env.reset(options={"split": "test", "initial_state": INITIAL_STATE})
    expert = env.make_expert()
    for _ in range(STEPS[task]):
        observation, *_ = env.step(expert.action(observation))
    images = {camera: env.render_frame(width, height, camera) for camera, (width, height) in SIZES.items()}
    env.close()
    return images


def draw() -> None:
    """Draws one task a column, and of each camera MuJoCo above PyBullet."""
    matplotlib.use("Agg")
    rows = [(engine, camera) for camera in SIZES for engine in ENGINES]
    figure, grid = pyplot.subplots(len(rows), len(TASKS), figsize=(9.6, 10.6), layout="constrained")
    for column, task in enumerate(TASKS):
        grid[0, column].set_title(task)
        for engine in ENGINES:
            images = views(task, engine)
            for camera, image in images.items():
                axes = grid[rows.index((engine, camera)), column]
                axes.imshow(image)
                axes.set_xticks([])
                axes.set_yticks([])
    for axes, (engine, camera) in zip(grid[:, 0], rows):
        axes.set_ylabel(f"{ENGINE_WORDS[engine]}, {camera}")
    figure.align_ylabels()
    figure.savefig(PICTURE, dpi=100)


if __name__ == "__main__":
    draw()
