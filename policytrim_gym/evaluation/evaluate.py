"""Evaluates a policy at one setting on fixed initial states."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from gymnasium.spaces import Box

from policytrim_gym.chunk import check_horizon
from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES, check_split
from policytrim_gym.errors import InitialStateOutOfRange, InvalidConfig, InvalidSpec
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.ensembling_controller import EnsemblingController
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.evaluation.selector_controller import SelectorController
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.queue import check_delay
from policytrim_gym.replan import HorizonChoice
from policytrim_gym.rollouts.collector import Rollout, RolloutCollector
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.env_factory import EnvFactory, EnvLike
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.selectors.selector import HorizonSelector
from policytrim_gym.wrappers.chunk_runner import time_limit

SPLIT_SEEDS = {"train": 1_000_000, "validation": 2_000_000, "test": 0}
"""Added to the seed where an environment knows no initial states, so that a choice and the final table still see other episodes."""

OnEpisode = Callable[[Rollout], None]


class Evaluator:
    """Holds rollout workers and evaluates many settings on the same initial states.

    Args:
        env: an id, a spec, a function or an EnvFactory.
        num_workers: rollout processes; 0 runs in the caller's process, where the measured wall-clock is that of one robot.

    >>> evaluator = Evaluator("Pendulum-v1", num_workers=0)
    >>> evaluator.tasks, evaluator.has_initial_states
    ((None,), False)
    """

    def __init__(self, env: EnvLike | EnvFactory, num_workers: int = 2) -> None:
        self.collector = RolloutCollector(env, num_workers)
        probe = self.collector.factory()
        self.tasks: tuple[str | None, ...] = tuple(getattr(probe.unwrapped, "tasks", (None,)))
        self.control_dt_s: float | None = getattr(probe.unwrapped, "control_dt_s", None)
        self.has_initial_states = hasattr(probe.unwrapped, "initial_state")
        if not isinstance(probe.action_space, Box):
            raise InvalidSpec(f"a chunked policy needs continuous actions (Box), {self.collector.factory.name} has {probe.action_space}")
        self.max_episode_steps = time_limit(probe, None)
        self.action_low, self.action_high = probe.action_space.low, probe.action_space.high
        probe.close()

    def evaluate(
        self,
        policy: ChunkPolicy,
        execute_horizon: int,
        states_per_task: int,
        *,
        name: str | None = None,
        split: str = "test",
        seed: int = 0,
        inference_delay_steps: int = 0,
        playback_rate: float = 1.0,
        ensemble: bool = False,
        selector: HorizonSelector | None = None,
        on_episode: OnEpisode | None = None,
    ) -> EfficiencyReport:
        """Rolls the policy out and returns one arm.

        Args:
            policy: predicts its best chunks.
            execute_horizon: h; with a playback rate, the chunk actions that one window plays.
            states_per_task: episodes of each task, from its initial states 0, 1, ...; without initial states, seeds from `seed` on.
            name: of the arm.
            split: which initial states.
            seed: for environments without initial states.
            inference_delay_steps: d; the first d steps of each window come from the previous chunk.
            playback_rate: above 1 the window is resampled into fewer steps.
            ensemble: whether overlapping chunks are averaged.
            selector: who chooses the horizon and playback rate of each chunk; then `execute_horizon` is only the arm's nominal one.
            on_episode: called with each finished rollout.

        Raises:
            InvalidHorizon, InvalidSpec, UnknownSplit, InitialStateOutOfRange: a setting that cannot be run, before anything runs.
        """
        chunk_size = policy.spec.chunk_size
        check_horizon(execute_horizon, chunk_size)
        check_delay(inference_delay_steps, execute_horizon, chunk_size)
        if self.action_low.shape != (policy.spec.action_dim,):
            raise InvalidSpec(
                f"the policy's action_dim is {policy.spec.action_dim}, the environment's actions have shape {self.action_low.shape}"
            )
        controller = self._controller(policy, playback_rate, inference_delay_steps, ensemble, selector)
        requests = self.requests(execute_horizon, states_per_task, split, seed, measure_motion=True)
        policy.reset(seed=seed)  # once: its episodes are interleaved
        rollouts = self.collector.collect(requests, controller, on_episode)
        if name is None and selector is not None:
            name = selector.name + (f" delay {inference_delay_steps}" if inference_delay_steps else "")
        return EfficiencyReport.from_rollouts(
            name or arm_name(execute_horizon, playback_rate, inference_delay_steps, ensemble),
            [rollout.record(chunk_size) for rollout in rollouts],
            execute_horizon=execute_horizon,
            chunk_size=chunk_size,
            playback_rate=playback_rate,
            inference_delay_steps=inference_delay_steps,
            selector=None if selector is None else selector.name,
        )

    def _controller(
        self, policy: ChunkPolicy, playback_rate: float, inference_delay_steps: int, ensemble: bool, selector: HorizonSelector | None
    ) -> Controller:
        """Returns who decides upon the windows; refuses settings that do not go together."""
        if selector is not None and (playback_rate != 1.0 or ensemble):
            raise InvalidConfig("a selector chooses the playback rate itself, and goes without temporal ensembling")
        if ensemble:
            if playback_rate != 1.0 or inference_delay_steps:
                raise InvalidConfig("temporal ensembling goes with playback_rate 1 and no inference delay")
            return EnsemblingController(policy)
        settings: dict[str, Any] = {
            "inference_delay_steps": inference_delay_steps,
            "action_low": self.action_low,
            "action_high": self.action_high,
            "max_episode_steps": self.max_episode_steps,
        }
        if selector is not None:
            return SelectorController(policy, selector, **settings)
        return PlaybackController(policy, playback_rate, **settings)

    def requests(self, execute_horizon: int, states_per_task: int, split: str, seed: int, **more: Any) -> list[EpisodeRequest]:
        """Returns the episodes of an evaluation: each task's first initial states, in an order that mixes the tasks.

        `more` are further fields of EpisodeRequest, the same for all.
        """
        if self.has_initial_states:
            self._check_states(split, states_per_task)
        return [
            EpisodeRequest(
                execute_horizon,
                task=task,
                split=split if self.has_initial_states else None,
                initial_state=index if self.has_initial_states else None,
                seed=seed + index + SPLIT_SEEDS[check_split(split)],
                **more,
            )
            for index in range(states_per_task)
            for task in self.tasks
        ]

    def close(self) -> None:
        """Ends the workers."""
        self.collector.close()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def task_names(self) -> tuple[str, ...] | None:
        """The tasks; None for an environment that names none."""
        return tuple(task for task in self.tasks if task is not None) or None

    @property
    def num_training_states(self) -> int | None:
        """Initial states of each task in the training split; None for environments without initial states."""
        return NUM_INITIAL_STATES["train"] if self.has_initial_states else None

    @staticmethod
    def _check_states(split: str, states_per_task: int) -> None:
        available = NUM_INITIAL_STATES[check_split(split)]
        if not 1 <= states_per_task <= available:
            raise InitialStateOutOfRange(f"split {split!r} has {available} initial states a task, got {states_per_task} asked for")


def arm_name(execute_horizon: int, playback_rate: float = 1.0, inference_delay_steps: int = 0, ensemble: bool = False) -> str:
    """Returns the name of a setting, the same on validation and test states.

    >>> arm_name(8, 2.0), arm_name(32, inference_delay_steps=3)
    ('h=8 x2', 'h=32 delay 3')
    """
    name = HorizonChoice(execute_horizon, playback_rate).name
    if inference_delay_steps:
        name += f" delay {inference_delay_steps}"
    return name + (" ensemble" if ensemble else "")


def evaluate_policy(
    policy: ChunkPolicy,
    env: EnvLike | EnvFactory | Evaluator,
    execute_horizon: int | None = None,
    num_episodes: int = 100,
    seed: int = 0,
    inference_delay_steps: int = 0,
    playback_rate: float = 1.0,
    *,
    split: str = "test",
    num_workers: int = 2,
    selector: HorizonSelector | None = None,
    on_episode: OnEpisode | None = None,
) -> EfficiencyReport:
    """Evaluates a policy and returns one arm of report.json.

    Args:
        policy: a ChunkPolicy.
        env: an id, a spec, a function, or an `Evaluator` whose workers shall be used.
        execute_horizon: h; None is the policy's own.
        num_episodes: in all, spread evenly over the environment's tasks.
        seed: for environments without initial states.
        inference_delay_steps: d; the first d steps of each window come from the previous chunk, then h <= chunk_size - d.
        playback_rate: above 1 windows are resampled into fewer steps.
        split: which initial states, where the environment has them.
        num_workers: rollout processes; 0 uses this one.
        selector: who chooses the horizon of each chunk; then `execute_horizon` stays None.
        on_episode: called with each finished rollout.

    Raises:
        InvalidConfig: `num_episodes` is not a multiple of the number of tasks.
    """
    with ExitStack() as stack:
        evaluator = env if isinstance(env, Evaluator) else stack.enter_context(Evaluator(env, num_workers))
        num_tasks = len(evaluator.tasks)
        if num_episodes < 1 or num_episodes % num_tasks:
            raise InvalidConfig(f"num_episodes must be a positive multiple of the {num_tasks} tasks, got {num_episodes}")
        if execute_horizon is not None and selector is not None:
            raise InvalidConfig(f"give execute_horizon or a selector, got {execute_horizon} and {selector.name}")
        nominal = policy.spec.horizon if selector is None else selector.longest_horizon
        return evaluator.evaluate(
            policy,
            nominal if execute_horizon is None else execute_horizon,
            num_episodes // num_tasks,
            split=split,
            seed=seed,
            inference_delay_steps=inference_delay_steps,
            playback_rate=playback_rate,
            selector=selector,
            on_episode=on_episode,
        )
