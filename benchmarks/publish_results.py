"""Writes the tables of finished headline runs into README.md and benchmarks/results/, so that no figure is typed by hand.

    python benchmarks/publish_results.py --slow-uneven runs/headline-slow --full-speed runs/headline-full
    python benchmarks/publish_results.py --selectors runs/selectors-slow --weights runs/weights
    python benchmarks/publish_results.py --arm runs/headline-arm --arm-pybullet runs/headline-arm-pybullet --arm-pixels runs/arm-pixels
    python benchmarks/publish_results.py --pi0 runs/pi0-metaworld
    python benchmarks/publish_results.py --pixels runs/pixels-gaussian runs/pixels-flow runs/pixels-48
    python benchmarks/publish_results.py --pixels-stage1 runs/stage1-gaussian runs/stage1-48 runs/stage1-mixed runs/stage1-48-mixed

The pages keep their text; only what stands between two markers changes. The picture is that of the slow demonstrations.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from policytrim_gym.evaluation.report.build import load_report
from policytrim_gym.evaluation.report.tables import markdown_table
from policytrim_gym.evaluation.report.transfer import transfer_markdown
from policytrim_gym.evaluation.report.verdict import points
from policytrim_gym.evaluation.report.words import factor, interval_words, number, percent
from policytrim_gym.files import write_atomic
from policytrim_gym.training.trim import LOG_FILE

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
HOW_TO = ROOT / "docs" / "how-to" / "control-the-horizon.md"
DEFAULT_SEEDS = ["0", "1", "2"]


class PixelRun(NamedTuple):
    """A run of pixels.py."""

    label: str
    words: str
    options: str


PIXEL_RUNS = {
    "pixels-gaussian": PixelRun("gaussian H=24", "gaussian head", "--head gaussian"),
    "pixels-flow": PixelRun("flow H=24", "flow head", "--head flow"),
    "pixels-48": PixelRun("gaussian H=48", "gaussian head, chunks of 48", "--head gaussian --chunk-size 48"),
}
COST_WORDS = {"replans": "calls", "steps": "steps", "either": "calls or steps"}


def opponent_words(against: str, report: Mapping[str, Any]) -> str:
    """Says what a run was compared with: "stock" or "best_untrained"."""
    return f"stock, h={report['baseline']['execute_horizon']}" if against == "stock" else "best untrained pair of each seed"


def target_words(target: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Says one target of a run with what was measured."""
    against = opponent_words(target["against"], report)
    result = "reached" if target["reached"] else "**missed**"
    return f"{COST_WORDS[target['cost']]} at least {target['factor']:g}x against {against}: {target['measured']:.2f}x, {result}"


def summary_row(demonstrator: str, against: str, ratios: Mapping[str, Any], success: Mapping[str, Any]) -> str:
    """Returns one line of the summary table."""
    cells = [factor(ratios[cost]["value"], ratios[cost]["ci95"]) for cost in ("replans", "steps", "wall_clock")]
    low, high = success["ci95"]
    difference = f"{points(success['difference'], sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]"
    return f"| {demonstrator} | {against} | {' | '.join(cells)} | {difference} |"


def summary(reports: Mapping[str, Mapping[str, Any]], told_apart_by: str = "demonstrations") -> str:
    """Returns the summary of all runs: the comparisons, then the targets, missed ones first."""
    lines = [
        f"| {told_apart_by} | trimmed against | fewer calls | fewer steps | less wall-clock | success, points |",
        "|---|---|---:|---:|---:|---:|",
    ]
    targets = []
    for name, report in reports.items():
        for against, suffix in (("stock", ""), ("best_untrained", "_to_best_untrained")):
            words = opponent_words(against, report)
            lines.append(summary_row(name, words, report[f"ratios{suffix}"], report[f"non_inferiority{suffix}"]))
        targets += [(target["reached"], f"- {name}: {target_words(target, report)}.") for target in report["verdict"]["targets"]]
    published = ", ".join(f"{factor(report['ratios']['published_definition'])} {name}" for name, report in reports.items())
    pairs = {report["non_inferiority"]["num_pairs"] for report in reports.values()}
    note = (
        f"95 % intervals; {' or '.join(map(str, sorted(pairs)))} pairs of test episodes in each line. Calls are counted; by the paper's "
        f"definition, steps over horizon, they would be {published} against stock. Figures that were set beforehand:"
    )
    return "\n".join([*lines, "", note, "", *(text for _, text in sorted(targets, key=lambda target: target[0]))])


def full_table(title: str, command: str, report: Mapping[str, Any]) -> str:
    """Returns the page of one run: the command that makes it, verdict, targets, settings by seed, every arm."""
    verdict = report["verdict"]
    if list(report["trimmed_by_seed"]) != DEFAULT_SEEDS:
        command += f" --seeds {' '.join(report['trimmed_by_seed'])}"
    best = ", ".join(f"seed {seed}: {arm}" for seed, arm in report["best_untrained_by_seed"].items())
    seeds = [
        f"seed {seed}: h={arm['execute_horizon']}, success {percent(arm['success_rate'])} {interval_words(arm['success_rate_ci95'])}, "
        f"{arm['steps_mean_success']:.1f} steps, {arm['num_replans_mean_success']:.2f} calls"
        for seed, arm in report["trimmed_by_seed"].items()
    ]
    return "\n".join(
        [
            f"# {title}",
            "",
            f"    python benchmarks/{command}",
            "",
            verdict["headline"],
            "",
            *(f"- {sentence}" for sentence in verdict["sentences"]),
            *(f"- Set beforehand: {target_words(target, report)}." for target in verdict["targets"]),
            f"- Best untrained pair, chosen on validation states: {best}.",
            *(f"- Trimmed, {line}." for line in seeds),
            "",
            markdown_table(report),
        ]
    )


def selector_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows that choose something, and stock, against the best fixed pair of the same policy."""
    lines = [
        "| policy | horizon chosen by | success | calls | steps | fewer calls than the best pair | fewer steps | success, points |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        against = row["against"].get("best fixed pair")
        if row["label"].startswith("h=") or (against is None and row["label"] != "best fixed pair"):
            continue
        arm, savings = row["arm"], ["–"] * 3
        if against is not None:
            savings = [factor(against["ratios"][cost]["value"], against["ratios"][cost]["ci95"]) for cost in ("replans", "steps")]
            low, high = against["non_inferiority"]["ci95"]
            difference = against["non_inferiority"]["difference"]
            savings.append(f"{points(difference, sign=True)} [{points(low, sign=True)}, {points(high, sign=True)}]")
        figures = [percent(arm["success_rate"]), number(arm["num_replans_mean"]), number(arm["steps_restricted_mean"])]
        lines.append(f"| {row['policy']} | {row['label']} | {' | '.join([*figures, *savings])} |")
    return "\n".join(lines)


def replace_between(page: Path, name: str, text: str) -> None:
    """Puts a text between the two markers of a page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = page.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise SystemExit(f"{page} must hold the markers {begin} and {end} once each")
    before, rest = whole.split(begin)
    write_atomic(page, f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


def publish_headline(folders: Mapping[str, Path]) -> None:
    """Writes the summary into README.md, the page of each run, and the picture."""
    reports = {name: load_report(folder / "report.json") for name, folder in folders.items()}
    replace_between(ROOT / "README.md", "measured", summary(reports))
    for name, report in reports.items():
        command = f"headline.py --demonstrator {name} --out runs/headline-{name.split('-')[0]}"
        write_atomic(RESULTS / f"headline-{name}.md", full_table(f"Headline, {name} demonstrations", command, report))
    shutil.copyfile(folders["slow-uneven"] / "headline.png", ROOT / "docs" / "images" / "headline.png")


def publish_arm(folder: Path) -> None:
    """Writes the page of the arm's run, its summary into README.md, and the picture."""
    report = load_report(folder / "report.json")
    replace_between(ROOT / "README.md", "arm", "\n\n".join([summary({"slow-uneven": report}), transfer_markdown(report).rstrip()]))
    title = "The arm: push and pick-place in MuJoCo, slow-uneven demonstrations"
    write_atomic(RESULTS / "headline-arm.md", full_table(title, "arm_headline.py --out runs/headline-arm", report))
    shutil.copyfile(folder / "headline.png", ROOT / "docs" / "images" / "headline-arm.png")


def publish_with_transfer(folder: Path, name: str, title: str, command: str) -> None:
    """Writes the page of a run that was evaluated in the other physics engine as well."""
    report = load_report(folder / "report.json")
    write_atomic(RESULTS / f"{name}.md", f"{full_table(title, command, report)}\n\n{transfer_markdown(report)}")


def keep_logs(folder: Path, name: str, report: Mapping[str, Any]) -> None:
    """Copies the training log of each seed of a run."""
    for seed in report["trimmed_by_seed"]:
        log = (folder / f"seed-{seed}" / "trimmed" / LOG_FILE).read_text(encoding="utf-8")
        write_atomic(RESULTS / "logs" / f"{name}-seed-{seed}.json", log)


def publish_pi0(folder: Path) -> None:
    """Writes the page of the small pi0's run, and its summary into the how-to of pi0."""
    report = load_report(folder / "report.json")
    replace_between(ROOT / "docs" / "how-to" / "pi0.md", "measured", summary({"slow-uneven": report}))
    title = "A small pi0 on Meta-World from pixels, slow-uneven demonstrations"
    write_atomic(RESULTS / "pi0-metaworld.md", full_table(title, "pi0_metaworld.py --out runs/pi0-metaworld", report))


def publish_pixels(folders: Sequence[Path]) -> None:
    """Writes the page of each run of pixels.py, its training logs, and the summary of all into README.md and the how-to of the tiny VLA.

    A folder is named as in `PIXEL_RUNS`.
    """
    reports = {folder: load_report(folder / "report.json") for folder in folders}
    rows = {PIXEL_RUNS[folder.name].label: report for folder, report in reports.items()}
    for page, name in ((ROOT / "README.md", "pixels"), (ROOT / "docs" / "how-to" / "tiny-vla.md", "measured")):
        replace_between(page, name, summary(rows, "head, chunk"))
    for folder, report in reports.items():
        run = PIXEL_RUNS[folder.name]
        title = f"The tiny VLA on Meta-World from pixels, {run.words}, slow-uneven demonstrations"
        write_atomic(RESULTS / f"{folder.name}.md", full_table(title, f"pixels.py {run.options} --out runs/{folder.name}", report))
        keep_logs(folder, folder.name, report)


def publish_selectors(folder: Path) -> None:
    """Writes the short table into the how-to, and the page with every row."""
    result = json.loads((folder / "selectors.json").read_text(encoding="utf-8"))
    note = f"Slow, uneven demonstrations, {result['rows'][0]['num_episodes']} test episodes a row; calls and steps over all episodes."
    replace_between(HOW_TO, "selectors", f"{selector_table(result['rows'])}\n\n{note}")
    write_atomic(RESULTS / "selectors-slow-uneven.md", (folder / "selectors.md").read_text(encoding="utf-8"))
    shutil.copyfile(folder / "selectors.png", ROOT / "docs" / "images" / "selectors.png")


def main() -> None:
    """Reads the runs that are given, and writes their pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow-uneven", type=Path, help="output of headline.py; goes with --full-speed")
    parser.add_argument("--full-speed", type=Path)
    parser.add_argument("--selectors", type=Path, help="output of selector_table.py")
    parser.add_argument("--weights", type=Path, help="output of weights_sb3_or_grpo.py")
    parser.add_argument("--arm", type=Path, help="output of arm_headline.py; README.md needs the markers")
    parser.add_argument("--arm-pybullet", type=Path, help="output of arm_headline.py --engine pybullet")
    parser.add_argument("--arm-pixels", type=Path, help="output of arm_pixels.py")
    parser.add_argument("--pi0", type=Path, help="output of pi0_metaworld.py")
    parser.add_argument("--pixels", type=Path, nargs="+", help="outputs of pixels.py, in folders named as in PIXEL_RUNS")
    parser.add_argument("--pixels-stage1", type=Path, nargs="+", default=[], help="outputs of pixels_stage1.py")
    options = parser.parse_args()
    if (options.slow_uneven is None) != (options.full_speed is None):
        parser.error("--slow-uneven and --full-speed go together: the summary holds both")
    if options.slow_uneven is not None:
        publish_headline({"slow-uneven": options.slow_uneven, "full-speed": options.full_speed})
    if options.selectors is not None:
        publish_selectors(options.selectors)
    if options.arm is not None:
        publish_arm(options.arm)
    if options.arm_pybullet is not None:
        title = "The arm: push and pick-place in PyBullet, slow-uneven demonstrations"
        command = "arm_headline.py --engine pybullet --out runs/headline-arm-pybullet"
        publish_with_transfer(options.arm_pybullet, "headline-arm-pybullet", title, command)
    if options.arm_pixels is not None:
        title = "The arm from pixels: the tiny VLA pushes in MuJoCo, slow-uneven demonstrations"
        publish_with_transfer(options.arm_pixels, "arm-pixels", title, "arm_pixels.py --out runs/arm-pixels")
        keep_logs(options.arm_pixels, "arm-pixels", load_report(options.arm_pixels / "report.json"))
    if options.pi0 is not None:
        publish_pi0(options.pi0)
    if options.pixels is not None:
        publish_pixels(options.pixels)
    for folder in options.pixels_stage1:
        write_atomic(RESULTS / f"pixels-{folder.name}.md", (folder / "stage1.md").read_text(encoding="utf-8"))
    if options.weights is not None:
        table = (options.weights / "weights.md").read_text(encoding="utf-8")
        write_atomic(RESULTS / "weights.md", table)
        replace_between(HOW_TO, "weights", table)


if __name__ == "__main__":
    main()
