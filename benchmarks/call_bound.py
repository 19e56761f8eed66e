"""How far calls could fall at best: an oracle that takes, state by state, the fastest success that any arm of any seed ever had.

    python benchmarks/call_bound.py runs/headline-full

Calls cannot be fewer than ceil(S / chunk_size). This puts the smallest S that was seen on each test state under that bound, over every
arm of the run: all seeds, untrained settings, stages, ablations, delays, and the saturated scripted controller.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from math import ceil
from pathlib import Path
from statistics import mean

from policytrim_gym.evaluation.report.build import load_report, report_arms


def main() -> None:
    """Prints the bound for each task and for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output of benchmarks/headline.py")
    options = parser.parse_args()
    fastest: defaultdict[tuple[object, object], list[int]] = defaultdict(list)
    stock: defaultdict[tuple[object, object], list[int]] = defaultdict(list)
    chunk_size = 0
    for path in sorted(options.run.glob("seed-*/report.json")):
        report = load_report(path)
        arms = report_arms(report)
        chunk_size = arms.trimmed.chunk_size
        reference = report.get("reference")
        episodes = [episode for arm in arms.all for episode in arm.episodes]
        for episode in episodes:
            if episode.success:
                fastest[episode.task, episode.initial_state].append(episode.steps)
        for item in reference["episodes"] if reference else ():
            if item["success"]:
                fastest[item["task"], item["initial_state"]].append(item["steps"])
        for episode in arms.baseline.episodes:
            if episode.success:
                stock[episode.task, episode.initial_state].append(episode.num_replans)
    rows = [(key[0], mean(calls), ceil(min(fastest[key]) / chunk_size), min(fastest[key])) for key, calls in stock.items()]
    print(f"{'task':28}{'stock calls':>12}{'fewest calls':>14}{'fewest steps':>14}{'ratio':>8}")
    for task in [*dict.fromkeys(row[0] for row in rows), "all"]:
        of_task = [row for row in rows if task in (row[0], "all")]
        calls, fewest, steps = (mean(row[column] for row in of_task) for column in (1, 2, 3))
        print(f"{task!s:28}{calls:12.2f}{fewest:14.2f}{steps:14.1f}{calls / fewest:7.2f}x")


if __name__ == "__main__":
    main()
