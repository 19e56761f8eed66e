"""A scripted expert as an arm: the reference for the steps that a task needs."""

from __future__ import annotations

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.expert_episode import ExpertRunner
from policytrim_gym.rollouts.job_pool import job_pool


def expert_arm(
    factory: EnvFactory, tasks: tuple[str, ...], demonstrator: str, states_per_task: int, split: str = "test", num_workers: int = 2
) -> EfficiencyReport:
    """Evaluates a scripted expert on a split's first states. It decides every step, so h = H = 1.

    Args:
        factory: of an environment with `make_expert`.
        tasks: names of its tasks.
        demonstrator: such as "saturated".
        states_per_task: episodes of each.
        split: which initial states.
        num_workers: processes.

    Raises:
        InvalidSpec: the environment has no tasks, or no scripted expert.
        InvalidConfig: it has none that moves like this.
    """
    if not tasks:
        raise InvalidSpec(f"{factory.name} names no tasks (env.unwrapped.tasks) that an expert could be run on")
    with job_pool(num_workers) as pool:
        jobs = [pool.submit(_records, factory, task, demonstrator, states_per_task, split) for task in tasks]
        records = [record for job in jobs for record in job.result()]
    return EfficiencyReport.from_rollouts(f"{demonstrator} expert", records, execute_horizon=1, chunk_size=1)


def _records(factory: EnvFactory, task: str, demonstrator: str, states_per_task: int, split: str) -> list[RolloutRecord]:
    runner = ExpertRunner(factory, demonstrator, seed=0)
    records = []
    for initial_state in range(states_per_task):
        episode = runner.run(task, split, initial_state)
        steps = len(episode.actions)
        records.append(RolloutRecord(episode.success, steps, steps, (1,) * steps, 1.0, episode.wall_clock_s, None, task, initial_state))
    runner.env.close()
    return records
