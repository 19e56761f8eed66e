"""Tables of a report: rows as data, as Markdown, and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policytrim_gym.errors import InvalidSpec, MissingExtra
from policytrim_gym.evaluation.comparison import common_success_ratio
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.pareto import pareto_front
from policytrim_gym.evaluation.report.build import ReportArms, report_arms
from policytrim_gym.evaluation.report.transfer import transfer_markdown
from policytrim_gym.evaluation.report.words import duration, factor, interval_words, number, percent

if TYPE_CHECKING:
    from rich.console import Console

ROLE_WORDS = {"stock": "stock", "best_untrained": "best untrained", "trimmed": "trimmed", "untrained": "untrained", "control": ""}
_HEADLINE_ROLES = ("stock", "best_untrained", "trimmed")
WALL_CLOCK_NOTE = (
    "Arms run one after another: a drift of the machine's load between them is in the wall-clock, and its interval does not cover it."
)

MOTION_NOTE = (
    "Motion headroom: the time that the joints took over the shortest for the same path from rest within their velocity and acceleration "
    "limits, over successes; 1 is the physical limit, and pauses count as headroom."
)


@dataclass(frozen=True)
class ArmRow:
    """One line of the table: an arm and what it saves against stock (ratios on common successes, None without any).

    `has_motion`: whether the motion of joints was measured in some arm of the report; then there is a column for it.
    """

    arm: EfficiencyReport
    role: str
    calls_ratio: float | None
    steps_ratio: float | None
    on_front: bool
    has_motion: bool = False

    @property
    def label(self) -> str:
        """The arm's name with its role."""
        word = ROLE_WORDS[self.role]
        return f"{self.arm.name} ({word})" if self.role in _HEADLINE_ROLES and word != self.arm.name else self.arm.name

    def cells(self) -> dict[str, str]:
        """Returns the formatted cells by their column."""
        arm = self.arm
        cells = {
            "h": str(arm.execute_horizon) if arm.selector is None else f"≤{arm.execute_horizon}",
            "playback": f"x{arm.playback_rate:g}" if arm.selector is None else "chosen",
            "delay": str(arm.inference_delay_steps),
            "success": f"{percent(arm.success_rate)} {interval_words(arm.success_rate_ci95)}",
            "calls": number(arm.num_replans_mean_success),
            "steps": number(arm.steps_mean_success),
            "calls saved": factor(self.calls_ratio),
            "steps saved": factor(self.steps_ratio),
            "calls, all": number(arm.num_replans_mean),
            "steps, all": number(arm.steps_restricted_mean),
            "chunk used": f"{100 * arm.chunk_utilization:.0f} %",
            "wall-clock": duration(arm.wall_clock_s_mean),
        }
        return {**cells, "motion headroom": factor(arm.motion_headroom)} if self.has_motion else cells


def arm_rows(arms: ReportArms) -> list[ArmRow]:
    """Returns stock, best untrained and trimmed, then the controls in the report's order."""
    front = {arm.name for arm in pareto_front(arms.all)}
    has_motion = any(arm.motion_headroom is not None for arm in arms.all)
    rows = [
        ArmRow(
            arm,
            arms.role(arm),
            common_success_ratio(arms.baseline, arm, "num_replans"),
            common_success_ratio(arms.baseline, arm, "steps"),
            arm.name in front,
            has_motion,
        )
        for arm in arms.all
    ]
    return sorted(rows, key=lambda row: _HEADLINE_ROLES.index(row.role) if row.role in _HEADLINE_ROLES else len(_HEADLINE_ROLES))


@dataclass(frozen=True)
class TaskRow:
    """One task under the three arms of the headline; `best_untrained` is None when the report has none."""

    task: str
    stock: EfficiencyReport
    best_untrained: EfficiencyReport | None
    trimmed: EfficiencyReport
    reference_steps: float | None


def task_rows(report: Mapping[str, Any], arms: ReportArms) -> list[TaskRow]:
    """Returns the headline arms task by task."""
    stock, trimmed = arms.baseline.by_task(), arms.trimmed.by_task()
    best = {} if arms.best_untrained is None else arms.best_untrained.by_task()
    reference = ((report.get("lower_bounds") or {}).get("trimmed") or {}).get("steps_reference", {})
    return [TaskRow(task, part, best.get(task), trimmed[task], reference.get(task)) for task, part in stock.items()]


def markdown_table(report: Mapping[str, Any], columns: Sequence[str] | None = None) -> str:
    """Returns the table of all arms as GitHub Markdown, with the headline arms in bold and the meaning of its columns below.

    A report with a transfer to another simulation has the table of that after it.

    Args:
        report: as `build_report` or `load_report` gave it.
        columns: of `ArmRow.cells` to show, None for all.

    Raises:
        InvalidSpec: an unknown column.
    """
    rows = arm_rows(report_arms(report))
    known = list(rows[0].cells())
    columns = known if columns is None else list(columns)
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise InvalidSpec(f"columns must be among {known}, got {unknown}")
    lines = ["| arm | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for row in rows:
        label = f"**{row.label}**" if row.role in _HEADLINE_ROLES else row.label
        cells = row.cells()
        lines.append(f"| {label}{' ●' if row.on_front else ''} | " + " | ".join(cells[column] for column in columns) + " |")
    transfer = transfer_markdown(report)
    return "\n".join(lines) + f"\n\n{table_note(report)}\n" + (f"\n{transfer}" if transfer else "")


def table_note(report: Mapping[str, Any]) -> str:
    """Returns what the columns mean, in one paragraph."""
    motion = any(bounds.get("motion_headroom") for bounds in (report.get("lower_bounds") or {}).values())
    return (
        f"{report['num_episodes']} test episodes an arm. Success with Wilson's 95 % interval; steps and calls over successes, and over "
        "all episodes with a failure counted to the time limit; wall-clock measured, over all episodes; saved: stock's mean over the "
        "arm's, on the successes common to both. ● no other arm is better in success, calls (all) or steps (all) without being worse in "
        f"another. {WALL_CLOCK_NOTE}{f' {MOTION_NOTE}' if motion else ''}"
    )


def print_table(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the verdict and the table of all arms to a terminal.

    Raises:
        MissingExtra: rich is not installed.
    """
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError as error:
        raise MissingExtra('printing tables needs rich: pip install "policytrim[train]"') from error
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = ("h", "play", "success", "calls", "steps", "calls saved", "steps saved")
    table.add_column("arm", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", min_width=min(len(column), 5))
    styles = {"stock": "yellow", "best_untrained": "cyan", "trimmed": "bold green"}
    for row in arm_rows(report_arms(report)):
        cells = row.cells()
        # The interval stays with the sentences below: eighty columns have no room for it.
        shown = {**cells, "play": cells["playback"], "success": percent(row.arm.success_rate)}
        table.add_row(row.label, *(shown[column] for column in columns), style=styles.get(row.role))
    screen = console or Console()
    screen.print(table)
    verdict = report.get("verdict") or {}
    for sentence in (verdict.get("headline"), *verdict.get("sentences", ())):
        if sentence:
            screen.print(sentence, highlight=False, markup=False)
