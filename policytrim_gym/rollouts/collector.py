"""Rolls out many episodes over local processes, with one batched policy call for all that wait."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig, WorkerFailed
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.policy import Observation
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.env_factory import EnvFactory, EnvLike, as_factory
from policytrim_gym.rollouts.episode import EpisodeRequest, MotionTime, Window, WindowResult
from policytrim_gym.rollouts.worker import EnvSlot, serve_slots


@dataclass
class Rollout:
    """One collected episode: its request, its windows and what they cost."""

    request: EpisodeRequest
    observations: list[Observation] = field(default_factory=list)  # at each replan
    windows: list[Window] = field(default_factory=list)
    executed_steps: list[int] = field(default_factory=list)
    trajectory: list[Observation] = field(default_factory=list)  # before each step, when the request asks for it
    success: bool = False
    step_s: float = 0.0
    task: str | None = None
    initial_state: int | None = None
    motion: MotionTime | None = None  # when the request asks for it and the environment has joints

    @property
    def steps(self) -> int:
        """S, physical steps of the episode."""
        return sum(self.executed_steps)

    def run_arguments(self, window: Window) -> tuple[NDArray[np.float32], bool, bool]:
        """Returns what a slot's `run` takes: the window's actions up to the request's step limit, and what its result shall hold."""
        limit = self.request.max_steps
        actions = window.actions if limit is None else window.actions[: limit - self.steps]
        return actions, self.request.keep_trajectory, self.request.measure_motion

    def actions(self) -> NDArray[np.float32]:
        """Returns the actions that ran, (steps, action_dim)."""
        return np.concatenate([window.actions[:count] for window, count in zip(self.windows, self.executed_steps)])

    def record(self, chunk_size: int) -> RolloutRecord:
        """Returns the RolloutRecord. Times are those of stepping and this episode's share of batched policy calls."""
        inference_s = sum(window.inference_s for window in self.windows)
        return RolloutRecord.from_windows(
            self.success,
            self.executed_steps,
            chunk_size,
            wall_clock_s=self.step_s + inference_s,
            inference_s=inference_s,
            task=self.task,
            initial_state=self.initial_state,
            motion_s=None if self.motion is None else self.motion.taken_s,
            shortest_s=None if self.motion is None else self.motion.shortest_s,
        )


class RolloutCollector:
    """Workers that hold environments, and the loop that feeds them whole windows of actions.

    Passing whole windows instead of single steps is what makes processes pay: per-step traffic is slower than one process. Each
    worker has several slots, so that it steps one environment while the policy thinks about another. The outcome does not depend on
    the number of workers: episodes carry their own seeds and initial states.

    Args:
        env: an id, a spec, a function, or an EnvFactory.
        num_workers: processes; 0 runs everything in the caller's process.
        slots_per_worker: environments in each.

    Raises:
        InvalidConfig: fewer than 0 workers or 1 slot.

    >>> from policytrim_gym.rollouts.collector import RolloutCollector
    >>> RolloutCollector("CartPole-v1", num_workers=0).num_slots
    1
    """

    def __init__(self, env: EnvLike | EnvFactory, num_workers: int = 2, slots_per_worker: int = 4) -> None:
        if num_workers < 0:
            raise InvalidConfig(f"num_workers must be at least 0, got {num_workers}")
        if slots_per_worker < 1:
            raise InvalidConfig(f"slots_per_worker must be at least 1, got {slots_per_worker}")
        self.factory = as_factory(env)
        self._num_workers = num_workers
        self._slots_per_worker = slots_per_worker if num_workers else 1
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        self._local: EnvSlot | None = None

    @property
    def num_slots(self) -> int:
        """Episodes that can be under way at once."""
        return max(1, self._num_workers) * self._slots_per_worker

    def collect(
        self,
        requests: Sequence[EpisodeRequest],
        controller: Controller,
        on_episode: Callable[[Rollout], None] | None = None,
        keep_observations: bool = False,
    ) -> list[Rollout]:
        """Rolls out all requests and returns the rollouts in their order.

        Args:
            requests: the episodes.
            controller: decides what runs.
            on_episode: called when an episode has ended, for progress bars.
            keep_observations: whether the rollouts hold the observation of each replan.

        Raises:
            WorkerFailed: an environment raised, or a worker process died; without workers the environment's own error passes.
        """
        rollouts = [Rollout(request) for request in requests]
        if self._num_workers == 0:
            self._collect_here(rollouts, controller, on_episode, keep_observations)
        else:
            self._start()
            try:
                with _cores_for_workers():
                    self._collect_remote(rollouts, controller, on_episode, keep_observations)
            except BaseException:
                self.close()  # answers of abandoned episodes must not reach the next call
                raise
        return rollouts

    def close(self) -> None:
        """Ends the workers; a later `collect` starts new ones."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
        self._connections, self._processes = [], []
        if self._local is not None:
            self._local.env.close()
            self._local = None

    def __enter__(self) -> RolloutCollector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        if self._processes:
            return
        context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads can hang
        for _ in range(self._num_workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve_slots, args=(theirs, self.factory, self._slots_per_worker), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def _collect_here(
        self, rollouts: list[Rollout], controller: Controller, on_episode: Callable[[Rollout], None] | None, keep: bool
    ) -> None:
        self._local = self._local or EnvSlot(self.factory)
        for episode, rollout in enumerate(rollouts):
            controller.start(episode, rollout.request)
            result = self._local.reset(rollout.request.seed, rollout.request.reset_options())
            while not _advance(rollout, result):
                [window] = controller.next_windows([episode], [result.observation])
                _add_window(rollout, window, result.observation, keep)
                result = self._local.run(*rollout.run_arguments(window))
            if on_episode:
                on_episode(rollout)

    def _collect_remote(
        self, rollouts: list[Rollout], controller: Controller, on_episode: Callable[[Rollout], None] | None, keep: bool
    ) -> None:
        waiting = iter(enumerate(rollouts))
        running: dict[tuple[int, int], int] = {}  # (worker, slot) -> episode
        free = [(worker, slot) for slot in range(self._slots_per_worker) for worker in range(self._num_workers)]
        for place in free:
            self._next_episode(place, waiting, running, controller)
        while running:
            ready: list[tuple[int, Observation]] = []
            places: list[tuple[int, int]] = []
            for place, result in self._receive():
                episode = running.pop(place)
                rollout = rollouts[episode]
                if _advance(rollout, result):
                    if on_episode:
                        on_episode(rollout)
                    self._next_episode(place, waiting, running, controller)
                else:
                    ready.append((episode, result.observation))
                    places.append(place)
            if not ready:
                continue
            windows = controller.next_windows([episode for episode, _ in ready], [observation for _, observation in ready])
            for place, (episode, observation), window in zip(places, ready, windows):
                _add_window(rollouts[episode], window, observation, keep)
                running[place] = episode
                self._send(place, "run", *rollouts[episode].run_arguments(window))

    def _next_episode(
        self,
        place: tuple[int, int],
        waiting: Iterable[tuple[int, Rollout]],
        running: dict[tuple[int, int], int],
        controller: Controller,
    ) -> None:
        episode, rollout = next(iter(waiting), (None, None))
        if episode is None or rollout is None:
            return
        controller.start(episode, rollout.request)
        running[place] = episode
        self._send(place, "reset", rollout.request.seed, rollout.request.reset_options())

    def _send(self, place: tuple[int, int], command: str, *arguments: Any) -> None:
        worker, slot = place
        try:
            self._connections[worker].send((command, slot, *arguments))
        except (BrokenPipeError, OSError) as error:
            raise self._death(worker) from error

    def _receive(self) -> list[tuple[tuple[int, int], WindowResult]]:
        """Waits for at least one answer and returns all that are there."""
        results: list[tuple[tuple[int, int], WindowResult]] = []
        ready = wait(self._connections)
        for worker, connection in enumerate(self._connections):
            if connection not in ready:
                continue
            try:
                while connection.poll():
                    slot, *answer = connection.recv()
                    if slot == "error":
                        raise WorkerFailed(f"an environment raised {answer[0]}{answer[1]}")
                    results.append(((worker, slot), answer[0]))
            except (EOFError, ConnectionResetError) as error:
                raise self._death(worker) from error
        return results

    def _death(self, worker: int) -> WorkerFailed:
        self._processes[worker].join(timeout=1)
        return WorkerFailed(f"rollout worker {worker} died with exit code {self._processes[worker].exitcode}; was it out of memory?")


@contextmanager
def _cores_for_workers() -> Iterator[None]:
    """Holds torch to one thread while the workers step: its idle threads spin, and on two cores they halve the rate of the workers."""
    torch = sys.modules.get("torch")  # a policy without torch must not bring it in
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _advance(rollout: Rollout, result: WindowResult) -> bool:
    """Adds a result to its rollout and returns whether the episode has ended."""
    rollout.task, rollout.initial_state = result.task, result.initial_state
    if result.executed_steps:
        rollout.executed_steps.append(result.executed_steps)
        rollout.step_s += result.step_s
        rollout.trajectory += result.trajectory
    rollout.success = rollout.success or result.success
    rollout.motion = result.motion
    limit = rollout.request.max_steps
    return result.done or (limit is not None and rollout.steps >= limit)


def _add_window(rollout: Rollout, window: Window, observation: Observation, keep: bool) -> None:
    rollout.windows.append(window)
    if keep:
        rollout.observations.append(observation)
