"""Success and steps of the arm's scripted experts, for each engine and task, on the test states.

    python benchmarks/arm_experts.py
    python benchmarks/arm_experts.py --states 40 --demonstrators full-speed

Goal: at least 95 % for the demonstrators full-speed and slow-uneven; the exit code says whether it was reached. About ten minutes on two
cores.
"""

from __future__ import annotations

import argparse
import sys

from policytrim_gym.envs.arm.engines import ENGINES
from policytrim_gym.envs.arm.expert import DEMONSTRATORS
from policytrim_gym.envs.arm.tasks import TASKS
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.experiments.config import ARM
from policytrim_gym.experiments.expert_arm import expert_arm
from policytrim_gym.rollouts.env_factory import EnvFactory

GOAL = 0.95
WITH_GOAL = ("full-speed", "slow-uneven")


def row(engine: str, demonstrator: str, task: str, arm: EfficiencyReport) -> str:
    """Returns one line of the table."""
    low, high = arm.success_rate_ci95
    steps = "-" if arm.steps_mean_success is None else f"{arm.steps_mean_success:.1f}"
    return f"| {engine} | {task} | {demonstrator} | {len(arm.episodes)} | {arm.success_rate:.1%} [{low:.1%}, {high:.1%}] | {steps} |"


def main() -> None:
    """Prints the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=250, help="test states of each task")
    parser.add_argument("--demonstrators", nargs="+", choices=DEMONSTRATORS, default=list(DEMONSTRATORS))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print("| engine | task | demonstrator | episodes | success [95 %] | steps |\n|---|---|---|---:|---|---:|", flush=True)
    missed = False
    for engine in ENGINES:
        for demonstrator in options.demonstrators:
            factory = EnvFactory(ARM, {"task": list(TASKS), "engine": engine})
            arm = expert_arm(factory, tuple(TASKS), demonstrator, options.states, num_workers=options.workers)
            for task, part in arm.by_task().items():
                print(row(engine, demonstrator, str(task), part), flush=True)
                missed = missed or (demonstrator in WITH_GOAL and part.success_rate < GOAL)
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
