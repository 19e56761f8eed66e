"""Laws of the scripted experts and of their demonstrations."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import assert_ends

from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.envs.metaworld_expert import DEMONSTRATORS, MetaWorldExpert, touches_scene
from policytrim_gym.envs.pacer import CONTACT_STEPS, GRASP_STEPS, PACE, Pacer
from policytrim_gym.errors import InvalidConfig, InvalidSpec, NoDemonstrations, UnknownTask, WorkerFailed
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.job_pool import job_pool
from policytrim_gym.training.demonstrations import _record_task, record_demonstrations

pytest.importorskip("metaworld")

ID = "policytrim_gym:PolicyTrim/MetaWorld-v0"


def episode(demonstrator: str, task: str, initial_state: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Runs one demonstration; returns its actions, the script's own, and whether the hand touched something before each."""
    env = MetaWorldEnv(task)
    observation, _ = env.reset(options={"split": "train", "initial_state": initial_state})
    expert, script = env.make_expert(demonstrator, seed), env.make_expert("full-speed")
    done, result = False, {"actions": [], "script": [], "touches": [], "success": []}
    while not done:
        result["script"].append(script.action(observation))
        result["touches"].append(touches_scene(env.simulation))
        result["actions"].append(expert.action(observation))
        observation, _, terminated, truncated, info = env.step(result["actions"][-1])
        result["success"].append(info["is_success"])
        done = terminated or truncated
    env.close()
    return {key: np.array(values) for key, values in result.items()}


@pytest.fixture(scope="module")
def slow_pick_place() -> dict[str, np.ndarray]:
    return episode("slow-uneven", "pick-place-v3", 0)


def pace_of(run: dict[str, np.ndarray]) -> np.ndarray:
    """Returns each step's motion over the script's, (S,); 1 where the script stands still."""
    axis = np.abs(run["script"][:, :3]).argmax(axis=1)
    rows = np.arange(len(axis))
    actual, scripted = run["actions"][rows, axis], run["script"][rows, axis]
    return np.divide(actual, scripted, out=np.ones_like(actual), where=scripted != 0)


def test_the_slow_expert_scales_the_motion_by_a_pace_or_pauses(slow_pick_place: dict[str, np.ndarray]) -> None:
    pace = pace_of(slow_pick_place)
    paused = pace == 0
    assert paused.any() and (pace[~paused] < 1).any()
    assert (pace[~paused] >= PACE[0] - 1e-6).all() and (pace <= 1 + 1e-6).all()
    actions, script = slow_pick_place["actions"], slow_pick_place["script"]
    np.testing.assert_allclose(actions[:, :3], pace[:, None] * script[:, :3], atol=1e-6)  # the direction stays
    np.testing.assert_array_equal(actions[:, 3], script[:, 3])  # and so does the gripper


def test_grasps_and_first_contacts_run_as_written(slow_pick_place: dict[str, np.ndarray]) -> None:
    as_written = np.isclose(pace_of(slow_pick_place), 1.0)
    changes = np.flatnonzero(np.abs(np.diff(slow_pick_place["script"][:, 3])) > 0.2) + 1
    assert changes.size
    for step in changes:
        assert as_written[step : step + GRASP_STEPS].all()
    touches = slow_pick_place["touches"].astype(int)
    for step in np.flatnonzero(np.diff(touches, prepend=0) == 1):
        length = int(np.argmin(np.append(touches[step:], 0)))
        assert as_written[step : step + min(length, CONTACT_STEPS)].all()
    assert touches.any() and not as_written[touches == 1].all(), "motion with the object in hand is slowed"


def test_slow_demonstrations_take_longer_from_the_same_states() -> None:
    for task in ("reach-v3", "push-v3"):
        slow, full = episode("slow-uneven", task, 1), episode("full-speed", task, 1)
        assert slow["success"][-1] and full["success"][-1]
        assert len(slow["actions"]) > 1.2 * len(full["actions"])


def test_a_pacer_without_contact_draws_every_phase_anew() -> None:
    pacer = Pacer(np.random.default_rng(0))
    paces = np.array([pacer.pace(gripper=-1.0, in_contact=False) for _ in range(3000)])
    moving = paces[paces > 0]
    assert moving.min() >= PACE[0] and moving.max() <= PACE[1]
    assert moving.mean() == pytest.approx(np.mean(PACE), abs=0.05)
    assert len(np.unique(moving)) > 3000 / 40  # a phase has fewer than 30 steps, and pauses come between
    assert 0.02 < (paces == 0).mean() < 0.2


def test_a_pacer_is_fast_in_each_new_contact_only_at_first() -> None:
    pacer = Pacer(np.random.default_rng(1))
    for _ in range(5):
        in_contact = np.array([pacer.pace(-1.0, in_contact=True) for _ in range(40)])
        assert (in_contact[:CONTACT_STEPS] == 1).all() and (in_contact[CONTACT_STEPS:] < 1).all()
        pacer.pace(-1.0, in_contact=False)


def test_the_same_seed_gives_the_same_demonstration() -> None:
    first, again, other = (episode("slow-uneven", "reach-v3", 2, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["actions"], again["actions"])
    assert len(first["actions"]) != len(other["actions"]) or (first["actions"] != other["actions"]).any()


@pytest.mark.parametrize("demonstrator", DEMONSTRATORS)
def test_experts_act_within_the_box_and_solve_the_easy_task(demonstrator: str) -> None:
    run = episode(demonstrator, "reach-v3", 0)
    assert run["success"][-1]
    assert run["actions"].dtype == np.float32 and (np.abs(run["actions"]) <= 1 + 1e-6).all()


def test_the_saturated_expert_is_the_fastest() -> None:
    steps = {name: len(episode(name, "reach-v3", 3)["actions"]) for name in DEMONSTRATORS}
    assert steps["saturated"] < steps["full-speed"] < steps["slow-uneven"]


def test_an_unknown_demonstrator_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="slow-uneven.*'half-speed'"):
        MetaWorldExpert(MetaWorldEnv("reach-v3"), "half-speed")


def factory(**kwargs) -> EnvFactory:
    return EnvFactory(ID, {"tasks": ["reach-v3", "peg-insert-side-v3"], **kwargs})


def test_only_successes_are_kept_and_failures_counted() -> None:
    """A short time limit fails some states: those are counted, and the kept ones are what the expert does from the others."""
    limit = 44
    kept, num_failed = _record_task(factory(max_episode_steps=limit), "reach-v3", "full-speed", 4, seed=0)
    assert len(kept) == 4 and num_failed > 0
    runs = [episode("full-speed", "reach-v3", index) for index in range(4 + num_failed)]
    solved = [run for run in runs if len(run["actions"]) <= limit]
    assert len(solved) == 4
    for demonstration, run in zip(kept, solved):
        np.testing.assert_array_equal(demonstration.actions, run["actions"])
        assert demonstration.states.shape == (len(run["actions"]), 39)
        assert (demonstration.task, demonstration.instruction) == ("reach-v3", "move the hand to the goal")


def test_demonstrations_do_not_depend_on_those_before_them() -> None:
    few, _ = _record_task(factory(), "reach-v3", "slow-uneven", 1, seed=5)
    more, _ = _record_task(factory(), "reach-v3", "slow-uneven", 2, seed=5)
    np.testing.assert_array_equal(few[0].actions, more[0].actions)
    assert not np.array_equal(more[0].states[0], more[1].states[0])


def test_an_expert_that_cannot_succeed_is_reported() -> None:
    with pytest.raises(NoDemonstrations, match="reach-v3: the full-speed expert succeeded 0 times in 6, 2 wanted"):
        _record_task(factory(max_episode_steps=2), "reach-v3", "full-speed", 2, seed=0)


def test_an_environment_without_an_expert_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="CartPole-v1 has no scripted expert"):
        _record_task(EnvFactory("CartPole-v1"), "any", "full-speed", 1, seed=0)


@pytest.mark.slow
def test_recording_in_processes_gives_what_recording_here_gives() -> None:
    tasks, told = ("reach-v3", "peg-insert-side-v3"), []
    demos = record_demonstrations(factory(), tasks, "slow-uneven", 1, seed=2, num_workers=2, on_demonstration=told.append)
    here = [_record_task(factory(), task, "slow-uneven", 1, seed=2) for task in tasks]
    for demonstration, (kept, num_failed) in zip(demos.demonstrations, here):
        np.testing.assert_array_equal(demonstration.actions, kept[0].actions)
        assert demos.num_failed[demonstration.task] == num_failed
    assert told == list(tasks)
    summary = demos.summary()
    assert summary["demonstrator"] == "slow-uneven"
    assert summary["tasks"]["reach-v3"] == {"kept": 1, "failed": here[0][1], "steps_mean": float(len(here[0][0][0].actions))}


@pytest.mark.slow
def test_a_refusal_in_a_worker_is_raised_by_its_own_name() -> None:
    with pytest.raises(UnknownTask, match="push-v3"):
        record_demonstrations(factory(), ("push-v3",), "full-speed", 1, seed=0, num_workers=1)


@pytest.mark.slow
def test_a_worker_that_dies_is_named() -> None:
    with pytest.raises(WorkerFailed, match="out of memory"), job_pool(1) as pool:
        pool.submit(os._exit, 3).result()


@pytest.mark.slow
def test_an_error_ends_the_jobs_that_are_left() -> None:
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), job_pool(1) as pool:
        pool.submit(divmod, 1, 1).result()
        for _ in range(3):
            pool.submit(time.sleep, 60)
        raise ZeroDivisionError
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_workers_end_with_a_caller_that_is_killed() -> None:
    script = """
import os, time
from policytrim_gym.rollouts.job_pool import job_pool
if __name__ == "__main__":
    with job_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=60)
    assert_ends(int(done.stdout))
