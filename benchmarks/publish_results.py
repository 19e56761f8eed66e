"""Writes the tables of finished headline runs into README.md and benchmarks/results/, so that no figure is typed by hand.

    python benchmarks/publish_results.py --slow-uneven runs/headline-slow --full-speed runs/headline-full

README.md keeps its text; only what stands between the two markers changes. The picture is that of the slow demonstrations.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policytrim_gym.evaluation.report.build import load_report
from policytrim_gym.evaluation.report.tables import factor, interval_words, markdown_table, percent
from policytrim_gym.evaluation.report.verdict import points
from policytrim_gym.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COST_WORDS = {"replans": "calls", "steps": "steps", "either": "calls or steps"}
OPPONENT_WORDS = {"stock": "stock, h=8", "best_untrained": "best untrained pair of each seed"}


def target_words(target: Mapping[str, Any]) -> str:
    """Says one target with what was measured."""
    against = OPPONENT_WORDS[target["against"]]
    result = "reached" if target["reached"] else "**missed**"
    return f"{COST_WORDS[target['cost']]} at least {target['factor']:g}x against {against}: {target['measured']:.2f}x, {result}"


def summary_row(demonstrator: str, against: str, ratios: Mapping[str, Any], success: Mapping[str, Any]) -> str:
    """Returns one line of the summary table."""
    cells = [f"{factor(ratios[cost]['value'])} {_bounds(ratios[cost]['ci95'])}" for cost in ("replans", "steps", "wall_clock")]
    low, high = success["ci95"]
    difference = f"{points(success['difference'], sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
    return f"| {demonstrator} | {against} | {' | '.join(cells)} | {difference} |"


def summary(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the summary of all runs: the comparisons, then the targets, missed ones first."""
    lines = [
        "| demonstrations | trimmed against | fewer calls | fewer steps | less wall-clock | success, points |",
        "|---|---|---:|---:|---:|---:|",
    ]
    targets = []
    for name, report in reports.items():
        stock = summary_row(name, OPPONENT_WORDS["stock"], report["ratios"], report["non_inferiority"])
        best = summary_row(
            name, OPPONENT_WORDS["best_untrained"], report["ratios_to_best_untrained"], report["non_inferiority_to_best_untrained"]
        )
        lines += [stock, best]
        targets += [(target["reached"], f"- {name}: {target_words(target)}.") for target in report["verdict"]["targets"]]
    published = ", ".join(f"{factor(report['ratios']['published_definition'])} {name}" for name, report in reports.items())
    pairs = {report["non_inferiority"]["num_pairs"] for report in reports.values()}
    note = (
        f"95 % intervals; {' or '.join(map(str, sorted(pairs)))} pairs of test episodes in each line. Calls are counted; by the paper's "
        f"definition, steps over horizon, they would be {published} against stock. Figures that were set beforehand:"
    )
    return "\n".join([*lines, "", note, "", *(text for _, text in sorted(targets, key=lambda target: target[0]))])


def full_table(name: str, report: Mapping[str, Any]) -> str:
    """Returns the page of one run: verdict, targets, settings by seed, every arm."""
    verdict = report["verdict"]
    best = ", ".join(f"seed {seed}: {arm}" for seed, arm in report["best_untrained_by_seed"].items())
    seeds = [
        f"seed {seed}: h={arm['execute_horizon']}, success {percent(arm['success_rate'])} {interval_words(arm['success_rate_ci95'])}, "
        f"{arm['steps_mean_success']:.1f} steps, {arm['num_replans_mean_success']:.2f} calls"
        for seed, arm in report["trimmed_by_seed"].items()
    ]
    return "\n".join(
        [
            f"# Headline, {name} demonstrations",
            "",
            f"    python benchmarks/headline.py --demonstrator {name} --out runs/headline-{name.split('-')[0]}",
            "",
            verdict["headline"],
            "",
            *(f"- {sentence}" for sentence in verdict["sentences"]),
            *(f"- Set beforehand: {target_words(target)}." for target in verdict["targets"]),
            f"- Best untrained pair, chosen on validation states: {best}.",
            *(f"- Trimmed, {line}." for line in seeds),
            "",
            markdown_table(report),
        ]
    )


def _bounds(interval: list[float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"


def main() -> None:
    """Reads the runs and writes README.md, the pages and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow-uneven", type=Path, required=True)
    parser.add_argument("--full-speed", type=Path, required=True)
    options = parser.parse_args()
    folders = {"slow-uneven": options.slow_uneven, "full-speed": options.full_speed}
    reports = {name: load_report(folder / "report.json") for name, folder in folders.items()}
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    write_atomic(readme, f"{before}{BEGIN}\n{summary(reports)}\n{END}{after}")
    for name, report in reports.items():
        write_atomic(ROOT / "benchmarks" / "results" / f"headline-{name}.md", full_table(name, report))
    shutil.copyfile(folders["slow-uneven"] / "headline.png", ROOT / "docs" / "images" / "headline.png")


if __name__ == "__main__":
    main()
