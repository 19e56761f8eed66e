"""Every way to choose the horizon, on the base and on the trimmed policy of each training seed, on the same test states.

    python benchmarks/selector_table.py --runs runs/headline-slow --out runs/selectors-slow
    python benchmarks/selector_table.py --runs runs/headline-slow --out runs/selectors-slow \
        --learned-base 'runs/horizon-base-{seed}' --learned-trimmed 'runs/horizon-trimmed-{seed}'

`--runs` is what `headline.py` left: its checkpoints are evaluated, and its arms of fixed pairs are taken over instead of being measured
again. What a row leaves open (the best fixed pair, the pair of each task, a rule's settings) is chosen on each seed's
validation states alone. The opponent of every row is the best fixed pair of the same policy. A rule's setting is the one that saves most
and keeps that pair's success there, within a standard error. The table of tasks asks each task for stock's success within a standard
error of that one task; the strict one for all of the best pair's, since six losses add up. Stopped and started again, it goes on with
what is missing; a controller that was trained again needs another folder. The result is `selectors.md`, `selectors.json` and
`selectors.png`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.comparison import Comparison, compare_arms
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import Evaluator, arm_name
from policytrim_gym.evaluation.pareto import best_untrained_pair, pareto_front
from policytrim_gym.evaluation.report.plots import Palette, to_png
from policytrim_gym.evaluation.report.verdict import outcome_of, points
from policytrim_gym.evaluation.report.words import factor, interval_words, number, percent
from policytrim_gym.evaluation.task_table import task_table_selector
from policytrim_gym.experiments.arms import ArmStore
from policytrim_gym.experiments.pool import pool_seeds
from policytrim_gym.experiments.settings import keep_settings
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.replan import HorizonChoice
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.selectors.action_delta import ActionDeltaSelector
from policytrim_gym.selectors.disagreement import DisagreementSelector
from policytrim_gym.selectors.selector import HorizonSelector

POLICIES = ("base", "trimmed")
STOCK, BEST_PAIR, LEARNED = "stock", "best fixed pair", "learned"
TASK_TABLES = ("best pair of each task", "best pair of each task, strict")
OPPONENTS = (BEST_PAIR, *TASK_TABLES)
MARKERS = {STOCK: "s", BEST_PAIR: "D", TASK_TABLES[0]: "v", TASK_TABLES[1]: "^", "disagreement": "P", "action-delta": "X", LEARNED: "*"}


@dataclass(frozen=True)
class Choice:
    """What a row plays in one seed, and how it went on the test states."""

    setting: str
    arm: EfficiencyReport


class Subject:
    """One policy of one training seed with its arms: those of the headline run where it has them, else evaluated now and kept."""

    def __init__(self, kind: str, seed: int, evaluator: Evaluator, options: argparse.Namespace) -> None:
        self.kind = kind
        self.seed = seed
        self.folder = options.runs / f"seed-{seed}" / kind
        self.policy = load_policy(str(self.folder))
        self._evaluator = evaluator
        self._options = options

    def pair(self, choice: HorizonChoice, split: str) -> EfficiencyReport:
        """Returns the arm of a fixed pair on the first states of a split: the headline run's own, cut to these, where it has it."""
        name, states = arm_name(*choice), self._states(split)
        if self.kind == "base":
            arms = self._options.runs / f"seed-{self.seed}" / "arms"
            arm = ArmStore(arms if split == "test" else arms / split).find(name)
            taken = None if arm is None else first_states(arm, states, len(self._evaluator.tasks))
            if taken is not None:
                return self._said(taken, split)
        return self._kept(name, split, choice.execute_horizon, playback_rate=choice.playback_rate)

    def selected(self, selector: HorizonSelector, split: str, name: str | None = None) -> EfficiencyReport:
        """Returns the arm of a selector; `name` of the stored arm, None is the selector's."""
        return self._kept(name or selector.name, split, selector.longest_horizon, selector=selector)

    def _states(self, split: str) -> int:
        return self._options.states if split == "test" else self._options.validation_states

    def _kept(self, name: str, split: str, horizon: int, **setting: Any) -> EfficiencyReport:
        store = ArmStore(self._options.out / f"seed-{self.seed}" / self.kind / split)
        evaluate = partial(self._evaluator.evaluate, self.policy, horizon, self._states(split), split=split, **setting)
        return self._said(store.get(name, evaluate), split)

    def _said(self, arm: EfficiencyReport, split: str) -> EfficiencyReport:
        costs = f"{number(arm.num_replans_mean_success)} calls, {number(arm.steps_mean_success)} steps"
        print(f"seed {self.seed}, {self.kind}, {split}: {arm.name}: success {percent(arm.success_rate)}, {costs}", flush=True)
        return arm


def first_states(arm: EfficiencyReport, states: int, num_tasks: int) -> EfficiencyReport | None:
    """Returns an arm of the first initial states of each task alone, or None when it has fewer."""
    records = [record for record in arm.episodes if record.initial_state is not None and record.initial_state < states]
    if len(records) != states * num_tasks:
        return None
    return EfficiencyReport.from_rollouts(
        arm.name, records, execute_horizon=arm.execute_horizon, chunk_size=arm.chunk_size, playback_rate=arm.playback_rate
    )


def rules(options: argparse.Namespace, rates: Sequence[float]) -> dict[str, list[HorizonSelector]]:
    """Returns each rule at every threshold and playback rate that it may be chosen at."""
    horizons, rates = options.rule_horizons, [rate for rate in options.rule_rates if rate in rates]
    return {
        "disagreement": [
            DisagreementSelector(horizons, threshold, first, rate)
            for threshold, first, rate in product(options.disagreement, options.disagreement_first, rates)
        ],
        "action-delta": [ActionDeltaSelector(horizons, threshold, rate) for threshold, rate in product(options.action_delta, rates)],
    }


def best_setting(arms: Sequence[EfficiencyReport], pair: EfficiencyReport) -> str:
    """Returns the name of the arm that saves most and keeps the pair's success; without any, of the one that loses least success."""
    candidates = best_untrained_pair(arms, pair).candidates[1:]  # the first is the pair itself
    eligible = [candidate for candidate in candidates if candidate.eligible]
    if eligible:
        return max(eligible, key=lambda candidate: candidate.saving or 0.0).name
    return max(candidates, key=lambda candidate: candidate.success_difference).name


def choices_of(subject: Subject, instructions: dict[str, str], options: argparse.Namespace) -> Iterator[tuple[str, Choice]]:
    """Yields every row of one policy and seed: chosen on validation states, played on test states."""
    rates = options.rates if subject.kind == "base" else options.trimmed_rates
    stock = arm_name(subject.policy.spec.horizon)
    choices = [HorizonChoice(subject.policy.spec.horizon), *(HorizonChoice(h, rate) for rate, h in product(rates, options.horizons))]
    pairs = {arm_name(*choice): choice for choice in choices}
    validation = {name: subject.pair(choice, "validation") for name, choice in pairs.items()}
    arms = list(validation.values())
    best = best_untrained_pair(arms, validation[stock]).name
    test = {name: subject.pair(choice, "test") for name, choice in pairs.items()}
    yield STOCK, Choice(stock, test[stock])
    yield BEST_PAIR, Choice(best, test[best])
    plain = task_table_selector(arms, validation[stock], instructions, name=TASK_TABLES[0])
    strict = task_table_selector(arms, validation[best], instructions, tolerance=0.0, name=TASK_TABLES[1])
    for table in (plain, strict):
        setting = ", ".join(f"{task} {arm_name(*table.table[text])}" for task, text in instructions.items())
        yield table.name, Choice(setting, subject.selected(table, "test"))
    for rule, candidates in rules(options, rates).items():
        chosen = best_setting([subject.selected(candidate, "validation") for candidate in candidates], validation[best])
        selector = next(candidate for candidate in candidates if candidate.name == chosen)
        yield rule, Choice(chosen, subject.selected(selector, "test"))
    pattern = getattr(options, f"learned_{subject.kind}")
    if pattern is not None:
        # Only a controller needs Stable-Baselines3.
        from policytrim_gym.selectors.loading import load_selector

        folder = pattern.format(seed=subject.seed)
        learned = load_selector(folder, str(subject.folder))
        yield LEARNED, Choice(folder, subject.selected(learned, "test", name=f"learned {folder.replace('/', '_')}"))
    for name, arm in test.items():
        yield name, Choice(name, arm)


@dataclass(frozen=True)
class Row:
    """One line of the table, pooled over the seeds."""

    policy: str
    label: str
    settings: dict[int, str]
    arm: EfficiencyReport
    against: dict[str, Comparison]  # with the opponents that it is compared with
    on_front: bool = False

    def figures(self) -> list[str]:
        """Returns the row's own cells of the Markdown table."""
        arm = self.arm
        return [
            f"{self.policy}, {self.label}{' ●' if self.on_front else ''}",
            f"{percent(arm.success_rate)} {interval_words(arm.success_rate_ci95)}",
            *map(number, (arm.num_replans_mean_success, arm.steps_mean_success, arm.num_replans_mean, arm.steps_restricted_mean)),
        ]

    def savings(self, opponent: str) -> list[str]:
        """Returns the cells of its comparison with an opponent."""
        compared = self.against.get(opponent)
        if compared is None:
            return ["–", "–", "–", "–"]
        low, high = (points(bound, sign=True) for bound in compared.success.ci95)
        ratios = [factor(ratio.value, ratio.ci95) for ratio in (compared.ratios.replans, compared.ratios.steps)]
        return [*ratios, f"{points(compared.success.difference, sign=True)} [{low}, {high}]", outcome_of(compared)]

    def to_json(self) -> dict[str, Any]:
        """Returns the row as JSON-ready values, without its episodes: the arms' files hold them."""
        compared = {
            opponent: {"ratios": comparison.ratios.to_json(), "non_inferiority": comparison.success.to_json()}
            for opponent, comparison in self.against.items()
        }
        return {
            "policy": self.policy,
            "label": self.label,
            "num_episodes": len(self.arm.episodes),
            "setting_by_seed": self.settings,
            "on_front": self.on_front,
            "against": compared,
            "arm": {key: value for key, value in self.arm.to_json().items() if key not in ("episodes", "training_seeds")},
        }


def pooled_rows(policy: str, by_seed: dict[int, dict[str, Choice]], margin: float) -> list[Row]:
    """Pools the rows of one policy over its seeds and compares each with the opponents: a fixed pair with the best one alone."""
    labels = list(next(iter(by_seed.values())))
    arms = {label: pool_seeds(f"{policy}, {label}", {seed: choices[label].arm for seed, choices in by_seed.items()}) for label in labels}
    rows = []
    for label, arm in arms.items():
        opponents = [opponent for opponent in (OPPONENTS if label in MARKERS else (BEST_PAIR,)) if opponent != label]
        against = {opponent: compare_arms(arms[opponent], arm, margin) for opponent in opponents}
        rows.append(Row(policy, label, {seed: choices[label].setting for seed, choices in by_seed.items()}, arm, against))
    return rows


def table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table; its first column holds names, the last words."""
    return [
        f"| {' | '.join(columns)} |",
        "|---|" + "---:|" * (len(columns) - 2) + "---|",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]


def markdown(rows: Sequence[Row], command: str, margin: float) -> str:
    """Returns the table of all rows, that against the tables of tasks, what their columns mean, and what each seed chose."""
    savings = ("calls saved", "steps saved", "success, points", "beats it")
    columns = ("policy, horizon chosen by", "success", "calls", "steps", "calls, all", "steps, all", *savings)
    note = (
        f"{len(rows[0].arm.episodes)} test episodes an arm; 95 % intervals. Calls and steps over successes, and over all episodes with a "
        "failure counted to the time limit. Saved: the best fixed pair's mean over the row's, on the successes common to both, paired; "
        "above 1 the row needs less. Success: the row's minus the pair's, paired. It beats the pair when calls or steps are measurably "
        f"fewer, the other no more, and success is not inferior at a margin of {points(margin)} points. ● no other row, of either "
        "policy, is better in success, calls (all) or steps (all) without being worse in another."
    )
    looking = [row for row in rows if row.label in MARKERS and row.label not in (STOCK, *OPPONENTS)]
    harder = [[f"{row.policy}, {row.label}", opponent, *row.savings(opponent)] for row in looking for opponent in TASK_TABLES]
    chosen = [
        f"- {row.policy}, {row.label}: " + "; ".join(f"seed {seed}: {setting}" for seed, setting in row.settings.items())
        for row in rows
        if row.label in MARKERS and row.label != STOCK
    ]
    return "\n".join(
        [
            *table(columns, [[*row.figures(), *row.savings(BEST_PAIR)] for row in rows]),
            "",
            note,
            "",
            "What looks at chunks or observations, against what only knows the task:",
            "",
            *table(("policy, horizon chosen by", "against", *savings), harder),
            "",
            "Chosen on validation states:",
            "",
            *chosen,
            "",
            f"`{command}`",
            "",
        ]
    )


def draw(rows: Sequence[Row], palette: Palette) -> Figure:
    """Draws success against calls: a colour for each policy, a marker for each way to choose."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.grid(color=palette.grid, linewidth=0.8)
    colors = {"base": palette.stock, "trimmed": palette.trimmed}
    for row in sorted(rows, key=lambda row: row.label in MARKERS):  # choices over pairs
        pair = row.label not in MARKERS
        axes.plot(
            row.arm.num_replans_mean,
            100 * row.arm.success_rate,
            linestyle="none",
            marker=MARKERS.get(row.label, "."),
            markersize=5 if pair else 12 if row.label == LEARNED else 8,
            color=colors[row.policy],
            alpha=0.5 if pair else 1.0,
            markeredgecolor=palette.paper,
        )
    for label in ("each fixed pair", *(label for label in MARKERS if any(row.label == label for row in rows))):
        axes.plot([], [], linestyle="none", marker=MARKERS.get(label, "."), color=palette.muted, label=label)
    for policy, color in colors.items():
        axes.plot([], [], linewidth=4, color=color, label=f"{policy} policy")
    axes.set_xlabel("calls per episode, all episodes (log)")
    axes.set_ylabel("success [%]")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what decides the arms: the runs, the states and the grids."""
    kept = {key: value for key, value in vars(options).items() if key not in ("out", "workers", "learned_base", "learned_trimmed", "seeds")}
    return {key: value if isinstance(value, (int, float, list)) else str(value) for key, value in kept.items()}


def parse_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="output of headline.py: seed-0, seed-1, ...")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--learned-base", metavar="PATTERN", help="controllers of the base policies; {seed} stands for the seed")
    parser.add_argument("--learned-trimmed", metavar="PATTERN", help="controllers of the trimmed policies")
    parser.add_argument("--horizons", type=int, nargs="+", default=[8, 16, 32], help="of the fixed pairs")
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0], help="of the base policies' pairs")
    parser.add_argument("--trimmed-rates", type=float, nargs="+", default=[1.0, 1.5], help="of the trimmed policies: fast already")
    parser.add_argument("--rule-horizons", type=int, nargs="+", default=[8, 16, 24, 32], help="that a rule chooses from")
    parser.add_argument(
        "--rule-rates", type=float, nargs="+", default=[1.0, 1.5, 2.0], help="that a rule may be played at, where its policy is"
    )
    parser.add_argument("--disagreement", metavar="THRESHOLD", type=float, nargs="+", default=[0.1, 0.2, 0.4, 0.8])
    parser.add_argument("--disagreement-first", metavar="H", type=int, nargs="+", default=[8, 16], help="horizons without an overlap")
    parser.add_argument("--action-delta", metavar="THRESHOLD", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--states", type=int, default=100, help="test states of each task")
    parser.add_argument("--validation-states", type=int, default=40, help="of each task")
    parser.add_argument("--margin", type=float, default=0.03, help="of the non-inferiority of success")
    parser.add_argument("--workers", type=int, default=1, help="rollout processes; 0 uses this one")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for rates in (options.rates, options.trimmed_rates):
        if not {*options.rule_rates} & {*rates}:
            parser.error(f"--rule-rates {options.rule_rates} must share a rate with {rates}, those of the pairs")
    return options


def main() -> None:
    """Runs all policies and seeds, pools them, and writes table, JSON and plot."""
    options = parse_options()
    keep_settings(options.out, settings_of(options))
    folder = options.runs / f"seed-{options.seeds[0]}" / "base"
    facts = load_facts(folder)
    if facts is None or facts.env is None:
        raise InvalidSpec(f"{folder} must be a checkpoint that names its environment in policytrim.json, got none")
    factory = EnvFactory(facts.env, facts.env_kwargs)
    env = factory().unwrapped
    instructions = dict(zip(env.tasks, env.instructions))  # type: ignore[attr-defined]
    env.close()
    found: dict[str, dict[int, dict[str, Choice]]] = {policy: {} for policy in POLICIES}
    with Evaluator(factory, options.workers) as evaluator:
        for seed, policy in product(options.seeds, POLICIES):
            found[policy][seed] = dict(choices_of(Subject(policy, seed, evaluator, options), instructions, options))
    rows = [row for policy in POLICIES for row in pooled_rows(policy, found[policy], options.margin)]
    front = {arm.name for arm in pareto_front([row.arm for row in rows])}
    rows = [replace(row, on_front=row.arm.name in front) for row in rows]
    command = " ".join(["python", "benchmarks/selector_table.py", *sys.argv[1:]])
    text = markdown(rows, command, options.margin)
    write_json_atomic(options.out / "selectors.json", {"command": command, "rows": [row.to_json() for row in rows]})
    write_atomic(options.out / "selectors.md", text)
    write_atomic(options.out / "selectors.png", to_png(lambda palette: draw(rows, palette)))
    print(text)


if __name__ == "__main__":
    main()
