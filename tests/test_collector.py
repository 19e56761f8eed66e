"""Laws of collecting rollouts: what comes out does not depend on the processes, and whatever fails is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from failing_env import FailingEnv
from processes import assert_ends
from scripted_envs import CountingEnv, numbered_policy
from small_policies import metaworld_policy

from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.errors import InvalidConfig, InvalidSpec, UnknownTask, WorkerFailed
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.rollouts.collector import Rollout, RolloutCollector
from policytrim_gym.rollouts.env_factory import EnvFactory, as_factory
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.training.sampling_controller import SamplingController

TASKS = ("reach-v3", "door-open-v3")


def requests(num_episodes: int, horizon: int = 4, **more: Any) -> list[EpisodeRequest]:
    return [EpisodeRequest(horizon, seed=index, noise_seed=100 + index, **more) for index in range(num_episodes)]


def metaworld_requests(**more: Any) -> list[EpisodeRequest]:
    """Returns episodes of other horizons, lengths, tasks and noise, so that they finish out of order."""
    return [
        EpisodeRequest(2 + index % 4, task=TASKS[index % 2], split="validation", initial_state=index, noise_seed=index, **more)
        for index in range(7)
    ]


def collect_here(env: Any, episodes: list[EpisodeRequest], policy: Any = None, **more: Any) -> list[Rollout]:
    with RolloutCollector(env, num_workers=0) as collector:
        return collector.collect(episodes, PlaybackController(policy or numbered_policy()), **more)


def timeless(rollout: Rollout) -> Any:
    return replace(rollout.record(6), wall_clock_s=0.0, inference_s=0.0)


def assert_same(ours: list[Rollout], theirs: list[Rollout]) -> None:
    assert [timeless(rollout) for rollout in ours] == [timeless(rollout) for rollout in theirs]
    for one, other in zip(ours, theirs):
        np.testing.assert_array_equal(one.actions(), other.actions())
        for kind in ("observations", "trajectory"):
            assert len(getattr(one, kind)) == len(getattr(other, kind))
            for left, right in zip(getattr(one, kind), getattr(other, kind)):
                np.testing.assert_array_equal(left["state"], right["state"])
                assert left.get("instruction") == right.get("instruction")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(1, 1), (1, 3), (2, 2)], ids=str)
@pytest.mark.parametrize("explore", [False, True], ids=["best", "explore"])
def test_the_outcome_does_not_depend_on_workers_and_slots(workers: tuple[int, int], explore: bool) -> None:
    policy = metaworld_policy(hidden_size=64)
    policy.set_exploration(action_std=0.3, gain_std=0.3)
    factory = EnvFactory("policytrim_gym:PolicyTrim/MetaWorld-v0", {"tasks": TASKS, "max_episode_steps": 25})
    episodes = metaworld_requests(keep_trajectory=True)
    runs = []
    for num_workers, slots in ((0, 1), workers):
        controller = SamplingController(policy) if explore else PlaybackController(policy)
        with RolloutCollector(factory, num_workers, slots) as collector:
            runs.append(collector.collect(episodes, controller, keep_observations=True))
    assert_same(*runs)
    assert len({rollout.actions().tobytes() for rollout in runs[0]}) == len(episodes)
    for rollout, request in zip(runs[1], episodes):
        assert (rollout.task, rollout.initial_state) == (request.task, request.initial_state)


@pytest.mark.parametrize("success_at", [1, 4, 5, 7])
def test_a_rollout_stops_exactly_at_success(success_at: int) -> None:
    envs: list[CountingEnv] = []

    def make() -> CountingEnv:
        envs.append(CountingEnv(success_at=(success_at,), truncate_at=20))
        return envs[0]

    [rollout] = collect_here(make, requests(1))
    assert rollout.success and rollout.steps == success_at == len(envs[0].actions)
    assert rollout.executed_steps == [4] * (success_at // 4) + [success_at % 4] * (success_at % 4 > 0)
    np.testing.assert_allclose(rollout.actions(), envs[0].actions)
    record = rollout.record(chunk_size=6)
    assert record.num_replans == -(-success_at // 4) == len(rollout.windows)
    assert record.chunk_utilization == pytest.approx(success_at / (6 * record.num_replans))


def test_truncation_without_success_is_a_failure() -> None:
    [rollout] = collect_here(partial(CountingEnv, truncate_at=6), requests(1))
    assert not rollout.success and rollout.executed_steps == [4, 2]


def test_a_termination_without_success_is_a_failure() -> None:
    [rollout] = collect_here(partial(CountingEnv, terminate_at=3, tell_success=None), requests(1))
    assert not rollout.success and rollout.executed_steps == [3]


@pytest.mark.parametrize("max_steps", [1, 4, 6, 8, 50])
def test_the_request_s_step_limit_is_exact(max_steps: int) -> None:
    envs: list[CountingEnv] = []

    def make() -> CountingEnv:
        envs.append(CountingEnv(truncate_at=10))
        return envs[0]

    [rollout] = collect_here(make, requests(1, max_steps=max_steps))
    assert rollout.steps == min(max_steps, 10) == len(envs[0].actions)
    assert not rollout.success


def test_success_at_the_step_limit_counts() -> None:
    [rollout] = collect_here(partial(CountingEnv, success_at=(6,)), requests(1, max_steps=6))
    assert rollout.success and rollout.steps == 6


def test_every_chunk_is_asked_for_at_the_present_step() -> None:
    [rollout] = collect_here(partial(CountingEnv, truncate_at=10), requests(1), keep_observations=True)
    assert [observation["state"][0] for observation in rollout.observations] == [0, 4, 8]
    expected = [(step - step % 4, step % 4) for step in range(10)]
    np.testing.assert_allclose(rollout.actions(), 0.01 * np.array(expected), atol=1e-7)


def test_observations_are_kept_only_when_asked_for() -> None:
    [rollout] = collect_here(partial(CountingEnv, truncate_at=10), requests(1))
    assert rollout.observations == [] and rollout.trajectory == []


def test_the_trajectory_and_the_actions_replay_the_episode() -> None:
    request = EpisodeRequest(3, task="door-open-v3", split="train", initial_state=5, keep_trajectory=True)
    [rollout] = collect_here(lambda: MetaWorldEnv(TASKS, max_episode_steps=20), [request], metaworld_policy())
    assert len(rollout.trajectory) == rollout.steps == len(rollout.actions()) == 20
    env = MetaWorldEnv(TASKS)
    observation, info = env.reset(options=request.reset_options())
    for before, action in zip(rollout.trajectory, rollout.actions()):
        np.testing.assert_array_equal(before["state"], observation["state"])
        assert before["instruction"] == info["instruction"]
        observation, *_, info = env.step(action)


def test_the_trajectory_stops_at_the_step_limit() -> None:
    [rollout] = collect_here(partial(CountingEnv, truncate_at=50), requests(1, keep_trajectory=True, max_steps=6))
    assert [observation["state"][0] for observation in rollout.trajectory] == [0, 1, 2, 3, 4, 5]


def test_rollouts_come_in_the_order_of_their_requests() -> None:
    finished: list[Rollout] = []
    rollouts = collect_here(partial(CountingEnv, truncate_at=5), requests(4), on_episode=finished.append)
    assert [rollout.request.seed for rollout in rollouts] == [0, 1, 2, 3]
    assert finished == rollouts


def test_times_are_those_of_stepping_and_asking() -> None:
    [rollout] = collect_here(partial(CountingEnv, truncate_at=10), requests(1))
    record = rollout.record(6)
    assert record.inference_s is not None and 0 < record.inference_s < record.wall_clock_s
    assert record.inference_s == pytest.approx(sum(window.inference_s for window in rollout.windows))


def pendulum_policy() -> Any:
    from policytrim_gym.policy import CallablePolicy
    from policytrim_gym.spec import PolicySpec

    return CallablePolicy(lambda observation: np.full((6, 1), observation["state"][1]), PolicySpec(6, 1))


@pytest.mark.slow
def test_lambdas_specs_and_ids_reach_the_workers() -> None:
    limit = 5
    makers = [
        lambda: gym.make("Pendulum-v1", max_episode_steps=limit),
        gym.make("Pendulum-v1", max_episode_steps=limit).spec,
        EnvFactory("gymnasium.envs.classic_control:Pendulum-v1", {"max_episode_steps": limit}),
    ]
    expected = collect_here(makers[0], requests(3), pendulum_policy(), keep_observations=True)
    for maker in makers:
        with RolloutCollector(maker, num_workers=1, slots_per_worker=2) as collector:
            assert_same(collector.collect(requests(3), PlaybackController(pendulum_policy()), keep_observations=True), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "words"),
    [("raise", "an environment raised ZeroDivisionError: the gripper divided by zero"), ("kill", "worker 0 died with exit code -9")],
)
def test_a_failure_in_a_worker_is_named_and_the_next_collection_works(failure: str, words: str) -> None:
    with RolloutCollector(partial(FailingEnv, failure), num_workers=1, slots_per_worker=2) as collector:
        bad = [*requests(3), EpisodeRequest(4, seed=13), *requests(3)]
        for _ in range(2):
            with pytest.raises(WorkerFailed, match=words):
                collector.collect(bad, PlaybackController(numbered_policy()))
        rollouts = collector.collect(requests(5), PlaybackController(numbered_policy()))
        assert [rollout.executed_steps for rollout in rollouts] == [[4, 4]] * 5


@pytest.mark.slow
def test_a_worker_killed_from_outside_is_named_while_others_work() -> None:
    slow = partial(gym.wrappers.TransformObservation, func=lambda state: (time.sleep(0.02), state)[1], observation_space=None)
    with RolloutCollector(lambda: slow(CountingEnv(truncate_at=400)), num_workers=2, slots_per_worker=1) as collector:
        collector.collect(requests(2, max_steps=1), PlaybackController(numbered_policy()))
        victim = collector._processes[1].pid
        threading.Timer(0.5, os.kill, (victim, signal.SIGKILL)).start()
        with pytest.raises(WorkerFailed, match="worker 1 died with exit code -9"):
            collector.collect(requests(4), PlaybackController(numbered_policy()))
        assert collector._processes == []


def test_a_failure_without_workers_passes_as_it_is() -> None:
    with RolloutCollector(FailingEnv, num_workers=0) as collector:
        with pytest.raises(ZeroDivisionError, match="gripper"):
            collector.collect([EpisodeRequest(4, seed=13)], PlaybackController(numbered_policy()))
        assert collector.collect(requests(1), PlaybackController(numbered_policy()))[0].steps == 8


@pytest.mark.slow
def test_an_interrupted_collection_leaves_nothing_for_the_next() -> None:
    def interrupt(rollout: Rollout) -> None:
        raise KeyboardInterrupt

    with RolloutCollector(partial(CountingEnv, truncate_at=9), num_workers=1, slots_per_worker=3) as collector:
        with pytest.raises(KeyboardInterrupt):
            collector.collect(requests(6), PlaybackController(numbered_policy()), on_episode=interrupt)
        rollouts = collector.collect(requests(2, horizon=2), PlaybackController(numbered_policy()))
        assert [rollout.executed_steps for rollout in rollouts] == [[2, 2, 2, 2, 1]] * 2


def test_a_refused_reset_option_is_named() -> None:
    with pytest.raises(UnknownTask, match="'push-v3'"):
        collect_here(lambda: MetaWorldEnv(TASKS), [EpisodeRequest(4, task="push-v3")], metaworld_policy())


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed() -> None:
    script = """
import os, sys
sys.path.insert(0, "tests")
from scripted_envs import CountingEnv, numbered_policy
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.rollouts.collector import RolloutCollector
from policytrim_gym.rollouts.episode import EpisodeRequest
collector = RolloutCollector(lambda: CountingEnv(truncate_at=5), num_workers=2)
collector.collect([EpisodeRequest(4)] * 4, PlaybackController(numbered_policy()))
print(*(process.pid for process in collector._processes), flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=60)
    workers = [int(word) for word in done.stdout.split()]
    assert len(workers) == 2, done.stderr
    for worker in workers:
        assert_ends(worker)


@pytest.mark.slow
def test_closing_ends_the_workers_and_collecting_starts_new_ones() -> None:
    collector = RolloutCollector(partial(CountingEnv, truncate_at=5), num_workers=1)
    collector.collect(requests(1), PlaybackController(numbered_policy()))
    first = collector._processes[0].pid
    collector.close()
    assert_ends(first)
    assert collector.collect(requests(1), PlaybackController(numbered_policy()))[0].steps == 5
    collector.close()
    collector.close()


def test_no_request_gives_no_rollout() -> None:
    assert collect_here(CountingEnv, []) == []


def test_sampling_keeps_the_sample_that_was_run() -> None:
    policy = metaworld_policy()
    with RolloutCollector(lambda: MetaWorldEnv(TASKS, max_episode_steps=7), num_workers=0) as collector:
        [rollout] = collector.collect([EpisodeRequest(4, initial_state=0, noise_seed=1)], SamplingController(policy))
    assert rollout.executed_steps == [4, 3]
    for window in rollout.windows:
        np.testing.assert_array_equal(window.actions, window.record.actions[:4])
        assert window.record.log_probs.shape == (6,)


@pytest.mark.parametrize(
    ("env", "kwargs", "words"),
    [
        (CountingEnv(), {}, "a live one cannot be shared"),
        (3, {}, "an EnvSpec or a function.*got int"),
        (CountingEnv, {"truncate_at": 3}, "kwargs need an env id"),
    ],
    ids=["live", "number", "kwargs"],
)
def test_what_makes_no_environment_is_refused(env: Any, kwargs: dict, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        EnvFactory(env, kwargs)


@pytest.mark.parametrize(
    "kwargs", [{"nonsense": 3}, {"max_episode_steps": "abc"}, {"max_episode_steps": -3}], ids=["unknown", "type", "range"]
)
def test_an_argument_that_the_environment_does_not_take_is_the_users_error(kwargs: dict) -> None:
    ((key, value),) = kwargs.items()
    with pytest.raises(InvalidSpec, match=f"Pendulum-v1 cannot be made with {key}={value!r}: "):
        EnvFactory("Pendulum-v1", kwargs)()


def test_a_factory_has_a_name_for_reports() -> None:
    assert as_factory("policytrim_gym:PolicyTrim/MetaWorld-v0").name == "PolicyTrim/MetaWorld-v0"
    assert as_factory(gym.spec("Pendulum-v1")).name == "Pendulum-v1"
    assert as_factory(CountingEnv).name == "CountingEnv"


@pytest.mark.parametrize("numbers", [(-1, 1), (1, 0)], ids=str)
def test_impossible_numbers_of_workers_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(InvalidConfig, match=f"got {min(numbers)}"):
        RolloutCollector(CountingEnv, *numbers)
