"""Stage 1 alone: what RL with longer chunks does to success at the whole chunk, without the warm start before it.

    python benchmarks/pixels_stage1.py --bases runs/pixels-gaussian --out runs/stage1-gaussian
    python benchmarks/pixels_stage1.py --bases runs/pixels-gaussian --seeds 0 --set windows=null --out runs/stage1-mixed

The bases are those of `pixels.py`, whose arm at the whole chunk is the comparison, on the same test states; or other clones of ours, in
<bases>/seed-<n>/base. Every rollout runs whole chunks, unless `windows` says otherwise. Stopped and started again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixels import whole_chunk_trim
from seeds import make_parser

from policytrim_gym.cli import options as shared
from policytrim_gym.config import from_mapping, to_mapping
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.evaluation.report.build import Provenance, build_report, save_report
from policytrim_gym.evaluation.report.tables import markdown_table
from policytrim_gym.evaluation.report.verdict import points
from policytrim_gym.evaluation.report.words import percent
from policytrim_gym.experiments.arms import ArmStore
from policytrim_gym.experiments.pool import pool_seeds
from policytrim_gym.files import write_atomic
from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.trim import trim
from policytrim_gym.training.trim_config import TrimConfig

BASE, STAGE1 = "base at the whole chunk", "stage 1 alone"
STATES_PER_TASK = 100


def stage1_config(options: argparse.Namespace, chunk_size: int, seed: int) -> TrimConfig:
    """Returns the training of one seed."""
    config = replace(
        whole_chunk_trim(chunk_size),
        stage1_fraction=1.0,
        warm_start=None,
        num_validations=6,
        num_workers=options.workers,
        seed=seed,
    )
    return from_mapping(TrimConfig, {**to_mapping(config), **(options.set or {})})


def run_seed(options: argparse.Namespace, seed: int) -> tuple[EfficiencyReport, EfficiencyReport]:
    """Trains one seed, and returns base and stage 1 on the test states, each at the whole chunk."""
    base = options.bases / f"seed-{seed}" / "base"
    facts = load_facts(base)
    if facts is None or facts.env is None:
        raise SystemExit(f"{base} must be a checkpoint that names its environment, such as a base of benchmarks/pixels.py")
    factory, folder = EnvFactory(facts.env, facts.env_kwargs), options.out / f"seed-{seed}"
    config = stage1_config(options, load_policy(str(base)).spec.chunk_size, seed)
    trim(str(base), factory, folder, config, options.timesteps, facts)
    with Evaluator(factory, options.workers) as evaluator:

        def evaluate(name: str, checkpoint: Path) -> EfficiencyReport:
            policy = load_policy(str(checkpoint))
            return ArmStore(folder / "arms").get(
                name, lambda: evaluator.evaluate(policy, states_per_task=STATES_PER_TASK, execute_horizon=policy.spec.chunk_size)
            )

        # The checkpoint in the folder itself is that of the best validation; this is what the stage ended with.
        return evaluate(BASE, base), evaluate(STAGE1, folder / "stage1")


def main() -> None:
    """Runs all seeds and pools them."""
    parser = make_parser(__doc__)
    parser.add_argument("--bases", type=Path, required=True, help="output of pixels.py, or a folder with seed-<n>/base")
    parser.add_argument("--timesteps", type=int, default=400_000, help="physical training steps")
    parser.add_argument("--set", metavar="KEY=VALUE", nargs="+", type=shared.key_value, action=shared.AddKeyValues, help="of TrimConfig")
    options = parser.parse_args()
    arms = {seed: run_seed(options, seed) for seed in options.seeds}
    command = " ".join(["python", "benchmarks/pixels_stage1.py", *sys.argv[1:]])
    report = build_report(
        Provenance(STAGE1, "the environment of the bases", options.seeds, command),
        baseline=pool_seeds(BASE, {seed: before for seed, (before, _) in arms.items()}),
        trimmed=pool_seeds(STAGE1, {seed: after for seed, (_, after) in arms.items()}),
    )
    save_report(report, options.out / "report.json")
    page = page_text(report, arms)
    write_atomic(options.out / "stage1.md", page)
    print(page)


def page_text(report: Mapping[str, Any], arms: Mapping[int, tuple[EfficiencyReport, EfficiencyReport]]) -> str:
    """Returns the page of a run: the command that makes it, success by seed and task, both arms."""
    tasks = list(next(iter(arms.values()))[0].by_task())
    lines = [f"| seed | all | {' | '.join(tasks)} |", f"|---|{'---:|' * (len(tasks) + 1)}"]
    for seed, (before, after) in arms.items():
        pairs = [(before, after), *((before.by_task()[task], after.by_task()[task]) for task in tasks)]
        lines.append(f"| {seed} | {' | '.join(f'{percent(old.success_rate)} -> {percent(new.success_rate)}' for old, new in pairs)} |")
    success = report["non_inferiority"]
    low, high = success["ci95"]
    difference = f"{points(success['difference'], sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
    return "\n".join(
        [
            "# Stage 1 alone, success at the whole chunk",
            "",
            f"    {report['command']}",
            "",
            f"Success changes by {difference} points, {success['num_pairs']} pairs of test episodes.",
            "",
            *lines,
            "",
            markdown_table(report),
        ]
    )


if __name__ == "__main__":
    main()
