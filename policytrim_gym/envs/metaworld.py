"""Meta-World as a Gymnasium environment with instructions, exact initial states and terminal success."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.envs.initial_states import InitialState, choose_initial_state
from policytrim_gym.envs.metaworld_observer import MetaWorldObserver
from policytrim_gym.envs.metaworld_tasks import INSTRUCTIONS
from policytrim_gym.envs.mujoco_renderer import rendering_explained
from policytrim_gym.errors import InvalidChunk, InvalidSpec, MissingExtra, UnknownTask

ACTION_KINDS = ("delta", "delta", "delta", "position")
"""x, y and z move the hand's target by up to 1 cm a step; the fourth is the gripper's effort."""


class _SimulationPool:
    """Meta-World's own environments that no `MetaWorldEnv` of this process uses at the moment.

    A simulation holds 30 MB and takes 0.1 s to make. A rollout worker has several environments, each of which may be asked for any
    task: with one simulation for each task in each of them, 50 tasks would need gigabytes.
    """

    def __init__(self) -> None:
        self._idle: dict[str, list[Any]] = {}

    def take(self, task: str) -> Any:
        """Returns an idle simulation of the task, or a new one."""
        if self._idle.get(task):
            return self._idle[task].pop()
        try:
            with rendering_explained():
                from metaworld.env_dict import ALL_V3_ENVIRONMENTS
        except ModuleNotFoundError as error:
            raise MissingExtra('Meta-World is not installed: pip install "policytrim[sim]"') from error
        return ALL_V3_ENVIRONMENTS[task]()

    def give_back(self, task: str, simulation: Any) -> None:
        """Takes a simulation that is no longer used."""
        self._idle.setdefault(task, []).append(simulation)


_SIMULATIONS = _SimulationPool()


class MetaWorldEnv(gym.Env[dict[str, Any], NDArray[np.float32]]):
    """One or several Meta-World tasks, told apart by their instruction.

    Unlike Meta-World's own environments: success terminates; the initial state is one of three disjoint splits and is chosen by
    `reset(options={"task": ..., "split": ..., "initial_state": k})`; the same choice or the same `reset(seed=s)` replays
    bit-identically; the action is finite or refused. The instruction is `info["instruction"]` and `env.unwrapped.instruction`.

    Args:
        tasks: names such as "reach-v3"; one name alone is fine.
        observation: "state" ({"state": float32 (39,)} as Meta-World defines it, with the goal visible) or "pixels" ({"image_front"}, uint8
            (image_size, image_size, 3), and "state" with what the robot measures, float32 (4,): hand [m] and gripper opening). What is
            drawn, and how the goal is marked: `MetaWorldObserver`.
        max_episode_steps: time limit in control steps; an episode is truncated there.
        render_mode: None or "rgb_array".
        image_size: of "pixels" [pixels].
        cameras: of "pixels", "front", "wrist" or both: each has an image, "image_front" and "image_wrist".

    Raises:
        UnknownTask, InvalidSpec: naming the value and the expectation.
        MissingExtra: metaworld is not installed, or at the first image no OpenGL.

    >>> env = MetaWorldEnv("push-v3", observation="pixels", cameras=("front", "wrist"))
    >>> {key: space.shape for key, space in env.observation_space.items()}
    {'image_front': (64, 64, 3), 'image_wrist': (64, 64, 3), 'state': (4,)}
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}
    action_kinds = ACTION_KINDS
    control_dt_s = 0.0125 * 5

    def __init__(
        self,
        tasks: Sequence[str] | str = ("reach-v3",),
        observation: str = "state",
        max_episode_steps: int = 500,
        render_mode: str | None = None,
        image_size: int = 64,
        cameras: Sequence[str] | str = ("front",),
    ) -> None:
        self.tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
        if not self.tasks:
            raise UnknownTask("tasks must name at least one Meta-World task, got none")
        for task in self.tasks:
            if task not in INSTRUCTIONS:
                close = difflib.get_close_matches(str(task), INSTRUCTIONS, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise UnknownTask(f"unknown Meta-World task {task!r}{hint} (there are {len(INSTRUCTIONS)}, such as 'reach-v3')")
        if not 1 <= max_episode_steps <= 500:
            raise InvalidSpec(f"max_episode_steps must be in 1..500 (Meta-World's own limit), got {max_episode_steps}")
        if render_mode not in (None, "rgb_array"):
            raise InvalidSpec(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.max_episode_steps = max_episode_steps
        self.render_mode = render_mode
        self._observer = MetaWorldObserver(observation, image_size, cameras)
        self.observation_space = self._observer.space
        self.action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.look = True
        self.initial_state: InitialState | None = None
        self._simulation: Any = None
        self._full_state: NDArray[np.float32] | None = None
        self._random_vectors: dict[InitialState, NDArray[np.float64]] = {}
        self._steps = 0
        self._renderer: Any = None

    @property
    def instruction(self) -> str:
        """The sentence that asks for the present task."""
        return INSTRUCTIONS[self.initial_state.task if self.initial_state else self.tasks[0]]

    @property
    def instructions(self) -> tuple[str, ...]:
        """The sentences of all tasks, in their order."""
        return tuple(INSTRUCTIONS[task] for task in self.tasks)

    @property
    def simulation(self) -> Any:
        """Meta-World's own environment of the present task, for experts and tests."""
        if self._simulation is None:
            raise InvalidSpec("reset the environment before using its simulation")
        return self._simulation

    @property
    def full_state(self) -> NDArray[np.float32]:
        """Meta-World's own observation of this moment, (39,), for experts and tests: a policy on pixels does not see it."""
        if self._full_state is None:
            raise InvalidSpec("reset the environment before its state is read")
        return self._full_state

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        super().reset(seed=seed)
        state_before, self.initial_state = self.initial_state, choose_initial_state(self.tasks, options, self.np_random)
        if state_before is None or state_before.task != self.initial_state.task or self._simulation is None:
            self._release_simulation(state_before)
            self._simulation = _SIMULATIONS.take(self.initial_state.task)
        self._set_state(self._simulation, self.initial_state)
        state, _ = self._simulation.reset()
        self._steps = 0
        return self._observe(state, look=True), self._info(success=False)

    def step(self, action: ArrayLike) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        array = np.asarray(action, dtype=np.float64)
        if array.shape != (4,) or not np.isfinite(array).all():
            raise InvalidChunk(f"an action must be 4 finite numbers, got {array.tolist()}")
        state, reward, _, _, info = self.simulation.step(np.clip(array, -1.0, 1.0))
        self._steps += 1
        success = bool(info["success"])
        truncated = self._steps >= self.max_episode_steps and not success
        observation = self._observe(state, look=self.look or success or truncated)
        return observation, float(reward), success, truncated, self._info(success)

    def render(self) -> Any:
        """Returns the present image, (360, 480, 3) uint8, when render_mode is "rgb_array"."""
        return self.render_frame() if self.render_mode == "rgb_array" else None

    def render_frame(self, width: int = 480, height: int = 360) -> NDArray[np.uint8]:
        """Draws the present scene, seen from the side of the table, whatever the render mode is.

        Meta-World's own renderer draws 3 to 7 frames a second in software because of a 4096 shadow map and multisampling; this
        one goes without shadows and reflections and is some twenty times faster.

        Returns:
            (height, width, 3) uint8.
        """
        import mujoco

        from policytrim_gym.envs.mujoco_renderer import MujocoRenderer

        model = self.simulation.model
        if self._renderer is None or not self._renderer.draws(model, width, height):
            self._close_renderer()
            self._renderer = MujocoRenderer(model, width, height)
        camera = mujoco.MjvCamera()
        camera.lookat[:] = (0.0, 0.68, 0.12)
        camera.distance, camera.azimuth, camera.elevation = 1.15, 150.0, -28.0
        return self._renderer.draw(self.simulation.data, camera)

    def make_expert(self, demonstrator: str = "full-speed", seed: int = 0) -> Any:
        """Returns a scripted expert for this environment; see `MetaWorldExpert`."""
        from policytrim_gym.envs.metaworld_expert import MetaWorldExpert

        return MetaWorldExpert(self, demonstrator, seed)

    def close(self) -> None:
        self._release_simulation(self.initial_state)

    def _close_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _release_simulation(self, state: InitialState | None) -> None:
        self._close_renderer()
        if self._simulation is not None and state is not None:
            _SIMULATIONS.give_back(state.task, self._simulation)
        self._simulation = None

    def _set_state(self, simulation: Any, state: InitialState) -> None:
        """Fixes object and goal positions through Meta-World's own task interface, so that a reset replays exactly."""
        from metaworld.types import Task

        if state not in self._random_vectors:
            # The rule that keeps object and goal apart lives in each task's reset, so the vector is drawn by one.
            simulation._set_task_called = True
            simulation._freeze_rand_vec = False
            simulation.seeded_rand_vec = True
            simulation.np_random = state.generator()
            simulation.reset_model()
            self._random_vectors[state] = np.array(simulation._last_rand_vec)
        data = {"rand_vec": self._random_vectors[state], "env_cls": type(simulation), "partially_observable": False}
        simulation.set_task(Task(env_name=state.task, data=pickle.dumps(data)))

    def _observe(self, state: NDArray[np.float64], look: bool) -> dict[str, NDArray[Any]]:
        assert self.initial_state is not None
        self._full_state = np.asarray(state, dtype=np.float32)
        return self._observer.observe(self.initial_state.task, self._simulation, self._full_state, look)

    def _info(self, success: bool) -> dict[str, Any]:
        assert self.initial_state is not None
        return self.initial_state.info(self.instruction, success)
