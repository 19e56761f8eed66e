"""The plots of a report, as SVG that follows the page's light or dark colours, or as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policytrim_gym.errors import MissingExtra
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.pareto import pareto_front
from policytrim_gym.evaluation.report.build import ReportArms
from policytrim_gym.evaluation.report.tables import ROLE_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (4.9, 3.5)  # inches; at one column of a phone its 9 pt text is still read
_MARKERS = {"stock": "s", "best_untrained": "D", "trimmed": "*", "untrained": "o", "control": "^"}


@dataclass(frozen=True)
class Palette:
    """Colours by role, of Okabe and Ito's set that colour-blind readers tell apart; markers differ as well."""

    ink: str = "#1d2329"
    muted: str = "#5d6873"
    grid: str = "#dfe3e8"
    paper: str = "#ffffff"
    stock: str = "#b45f06"
    best_untrained: str = "#0072b2"
    trimmed: str = "#00805f"
    untrained: str = "#8b95a1"
    control: str = "#9c5d8a"

    def role(self, role: str) -> str:
        """Returns the colour of an arm's role."""
        return str(getattr(self, role))


LIGHT = Palette()
DARK = Palette("#e9edf1", "#9aa6b2", "#2b333c", "#171b20", "#f0a33a", "#5bb5ec", "#2fc79a", "#8b95a1", "#cf92bd")
# Drawn with these, replaced by var(--name) in the SVG: the page decides.
_SENTINELS = Palette(*(f"#0101{index:02x}" for index in range(16, 25)))

Draw = Callable[[Palette], "Figure"]


def success_against_horizon(arms: ReportArms) -> Draw:
    """Draws success with its interval against the execute horizon, untrained arms at each playback rate beside the trimmed one."""

    def draw(palette: Palette) -> Figure:
        figure, axes = styled_figure(palette)
        untrained = [
            arm for arm in arms.all if arms.role(arm) in ("stock", "best_untrained", "untrained") and not arm.inference_delay_steps
        ]
        rates = sorted({arm.playback_rate for arm in untrained})
        for shade, rate in zip(np.linspace(1.0, 0.4, len(rates)), rates):
            row = sorted((arm for arm in untrained if arm.playback_rate == rate), key=lambda arm: arm.execute_horizon)
            _interval_line(axes, row, palette.untrained, alpha=float(shade), style=["-", "--", "-.", ":"][rates.index(rate) % 4])
            axes.lines[-1].set_label(f"untrained, x{rate:g}")
        for arm in dict.fromkeys((arms.baseline, arms.best_untrained, arms.trimmed)):  # stock may be the best untrained arm
            if arm is not None:
                _mark(axes, arm.execute_horizon, 100 * arm.success_rate, arms.role(arm), palette, error=_error(arm))
        _percent_axis(axes)
        axes.set_xlabel("execute horizon [actions run before the next call]")
        axes.set_ylabel("success [%]")
        legend_below(figure, axes, palette)
        return figure

    return draw


def success_against_calls(arms: ReportArms) -> Draw:
    """Draws every arm's success against its calls, failures included, and the front of the arms that none betters in these two."""

    def draw(palette: Palette) -> Figure:
        figure, axes = styled_figure(palette)
        front = sorted(pareto_front(arms.all, ("success", "calls")), key=lambda arm: arm.num_replans_mean)
        axes.step(
            [arm.num_replans_mean for arm in front],
            [100 * arm.success_rate for arm in front],
            where="post",
            color=palette.ink,
            linewidth=1.0,
            alpha=0.6,
            label="front: none better in both" if len(front) > 1 else "_nolegend_",
            zorder=1,
        )
        seen: set[str] = set()
        for role in ("control", "untrained", "stock", "best_untrained", "trimmed"):
            for arm in (arm for arm in arms.all if arms.role(arm) == role):
                label = None if role in seen else ROLE_WORDS[role] or "other controls"
                seen.add(role)
                _mark(axes, arm.num_replans_mean, 100 * arm.success_rate, role, palette, label=label)
        _percent_axis(axes)
        _log_axis(axes)
        axes.set_xlabel("calls per episode, all episodes (log)")
        axes.set_ylabel("success [%]")
        legend_below(figure, axes, palette)
        return figure

    return draw


def success_over_time(arms: ReportArms) -> Draw:
    """Draws the share of episodes that have succeeded by each step: the distribution of S with failures left in."""

    def draw(palette: Palette) -> Figure:
        figure, axes = styled_figure(palette)
        chosen = [arm for arm in (arms.baseline, arms.best_untrained, arms.trimmed) if arm is not None]
        limit = max(record.steps for arm in chosen for record in arm.episodes)
        for arm in dict.fromkeys(chosen):
            role = arms.role(arm)
            steps = np.sort([record.steps for record in arm.episodes if record.success])
            share = 100 * np.arange(1, len(steps) + 1) / len(arm.episodes)
            x, y = np.concatenate([[0], steps, [limit]]), np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
            style = {"stock": "-", "best_untrained": "--", "trimmed": "-"}[role]
            width = 2.6 if role == "trimmed" else 1.8
            axes.step(x, y, where="post", color=palette.role(role), linestyle=style, linewidth=width, label=ROLE_WORDS[role])
        axes.set_xlim(0, limit)
        _percent_axis(axes, bottom=0.0)
        axes.set_xlabel("control steps")
        axes.set_ylabel("episodes done [%]")
        legend_below(figure, axes, palette)
        return figure

    return draw


def steps_by_task(arms: ReportArms) -> Draw:
    """Draws the middle half and the median of S over successes for each task and headline arm."""

    def draw(palette: Palette) -> Figure:
        chosen = list(dict.fromkeys(arm for arm in (arms.baseline, arms.best_untrained, arms.trimmed) if arm is not None))
        tasks = list(arms.baseline.by_task())
        figure, axes = styled_figure(palette, height=max(_SIZE[1], 1.3 + 0.42 * len(tasks)))
        for offset, arm in zip(np.linspace(-0.24, 0.24, len(chosen)), chosen):
            role, parts = arms.role(arm), arm.by_task()
            axes.plot([], [], color=palette.role(role), marker=_MARKERS[role], linewidth=3, label=ROLE_WORDS[role])
            for row, task in enumerate(tasks):
                steps = [record.steps for record in parts[task].episodes if record.success] if task in parts else []
                if steps:
                    low, middle, high = np.quantile(steps, [0.25, 0.5, 0.75])
                    axes.plot([low, high], [row + offset] * 2, color=palette.role(role), linewidth=3, alpha=0.55, solid_capstyle="round")
                    _mark(axes, float(middle), row + float(offset), role, palette, scale=0.75)
        axes.set_yticks(range(len(tasks)), [task.removesuffix("-v3") for task in tasks])
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel("steps to success, quartiles and median")
        legend_below(figure, axes, palette)
        return figure

    return draw


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Draw:
    """Draws success, steps and calls over the training, with the validation points and where each phase begins.

    Args:
        rows: one mapping for each iteration: `stage`, `timesteps` (physical training steps so far), and `success` (fraction), `steps`,
            `calls`, and at validations `validation_success`, `validation_steps`, `validation_calls`; what is missing or None is left out.
    """

    def draw(palette: Palette) -> Figure:
        from matplotlib.ticker import EngFormatter

        figure, panels = styled_figure(palette, height=5.4, panels=3)
        has_steps = all(row.get("timesteps") is not None for row in rows)
        x = [row["timesteps"] if has_steps else index for index, row in enumerate(rows)]
        for axes, (key, label, scale) in zip(panels, (("success", "success [%]", 100.0), ("steps", "steps", 1.0), ("calls", "calls", 1.0))):
            for name, style in ((key, {"linewidth": 1.2, "alpha": 0.75}), (f"validation_{key}", {"marker": "o", "markersize": 4})):
                points = [(at, scale * row[name]) for at, row in zip(x, rows) if row.get(name) is not None]
                if points:
                    label_text = "validation" if name != key else "training rollouts"
                    color = palette.trimmed if name != key else palette.untrained
                    axes.plot(*zip(*points), color=color, label=label_text, **style)
            axes.set_ylabel(label)
        _percent_axis(panels[0])
        _mark_phases(panels, _phases(x, rows), palette)
        panels[-1].set_xlabel("physical steps of training" if has_steps else "iteration")
        panels[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
        legend_below(figure, panels[0], palette)
        return figure

    return draw


def _phases(x: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Returns where each phase begins and its words; a phase that took no training, such as the choice of the horizon, is left out.

    A row stands at the end of what it reports, so a phase begins at the row before its first.

    >>> stages = ("baseline", "warm-start", "stage1", "stage1", "horizon", "stage2")
    >>> _phases([0, 140, 150, 160, 160, 170], [{"stage": stage} for stage in stages])
    [(0, 'warm start'), (140, 'stage 1'), (160, 'stage 2')]
    """
    names = [str(row.get("stage", "")) for row in rows]
    phases: list[tuple[float, str]] = []
    for stage in dict.fromkeys(names):
        first, last = names.index(stage), len(names) - 1 - names[::-1].index(stage)
        begin = x[max(0, first - 1)]
        if stage and x[last] > begin:
            phases.append((begin, re.sub(r"(?<=[a-z])(?=\d)", " ", stage.replace("-", " "))))
    return phases


def _mark_phases(panels: Sequence[Axes], phases: Sequence[tuple[float, str]], palette: Palette) -> None:
    """Draws a line through all panels where a phase begins and names it above them, in two rows by turns: phases can be short."""
    for index, (begin, words) in enumerate(phases):
        for axes in panels:
            axes.axvline(begin, color=palette.muted, linewidth=1, linestyle=":")
        panels[0].annotate(
            words,
            (begin, 1),
            (0, 3 + 11 * (index % 2)),
            textcoords="offset points",
            xycoords=("data", "axes fraction"),
            color=palette.muted,
            fontsize=8,
        )


def to_svg(draw: Draw, title: str) -> str:
    """Returns an inline SVG whose colours are the page's variables, as wide as its column, described by `title` to screen readers."""
    matplotlib = _matplotlib()
    # Text stays text; the salt keeps the ids of two figures on one page apart, and the same from run to run.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure = draw(_SENTINELS)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for name, color in vars(_SENTINELS).items():
        svg = svg.replace(color, f"var(--{name.replace('_', '-')})")
    opening = re.sub(r' (?:width|height)="[^"]*"', "", svg[: svg.index(">")])
    return f'{opening} role="img" aria-label="{title}"{svg[svg.index(">") :]}'


def to_png(draw: Draw, dpi: int = 160) -> bytes:
    """Returns the plot as PNG in light colours, for a README."""
    buffer = io.BytesIO()
    draw(LIGHT).savefig(buffer, format="png", dpi=dpi, facecolor=LIGHT.paper)
    return buffer.getvalue()


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra('plots need matplotlib: pip install "policytrim[report]"') from error
    return matplotlib


def styled_figure(palette: Palette, height: float = _SIZE[1], panels: int = 1) -> tuple[Figure, Any]:
    """Returns an empty figure in the report's style and its axes, or a list of them that share the x axis."""
    _matplotlib()
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
    grid = np.atleast_1d(figure.subplots(panels, 1, sharex=True))
    for axes in grid:
        axes.patch.set_alpha(0.0)
        axes.grid(color=palette.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=palette.muted, labelsize=9, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(palette.muted)
        axes.xaxis.label.set(color=palette.ink, fontsize=9)
        axes.yaxis.label.set(color=palette.ink, fontsize=9)
    return figure, list(grid) if panels > 1 else grid[0]


def legend_below(figure: Figure, axes: Axes, palette: Palette) -> None:
    """Puts the legend below the plot, where it never covers a point."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5, labelcolor=palette.ink)


def _error(arm: EfficiencyReport) -> list[list[float]]:
    low, high = arm.success_rate_ci95
    return [[100 * (arm.success_rate - low)], [100 * (high - arm.success_rate)]]


def _interval_line(axes: Axes, row: Sequence[EfficiencyReport], color: str, alpha: float, style: str) -> None:
    x = [arm.execute_horizon for arm in row]
    axes.fill_between(
        x,
        [100 * arm.success_rate_ci95.low for arm in row],
        [100 * arm.success_rate_ci95.high for arm in row],
        color=color,
        alpha=0.12 * alpha,
        linewidth=0,
    )
    axes.plot(x, [100 * arm.success_rate for arm in row], color=color, alpha=alpha, linestyle=style, marker="o", markersize=3.5)


def _mark(
    axes: Axes,
    x: float,
    y: float,
    role: str,
    palette: Palette,
    error: list[list[float]] | None = None,
    label: str | None = "",
    scale: float = 1.0,
) -> None:
    """Draws one arm as its role's marker; an empty label stands for the role's own words."""
    size = {"trimmed": 13.0, "stock": 8.0, "best_untrained": 7.5}.get(role, 5.5) * scale
    color = palette.role(role)
    words = (ROLE_WORDS[role] if scale == 1.0 else None) if label == "" else label
    axes.errorbar(
        [x],
        [y],
        yerr=error,
        fmt=_MARKERS[role],
        color=color,
        markersize=size,
        markeredgecolor=palette.paper,
        markeredgewidth=0.8,
        elinewidth=1.2,
        label=words or "_nolegend_",
        zorder={"trimmed": 5, "stock": 4, "best_untrained": 4}.get(role, 2),
    )


def _percent_axis(axes: Axes, bottom: float | None = None) -> None:
    """Ends the y axis at 100 %, with no more room above than a marker needs and no tick there; `bottom` None fits the data."""
    low = max(0.0, axes.get_ylim()[0]) if bottom is None else bottom
    axes.set_ylim(low, 100 + 0.03 * max(100 - low, 1.0))
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= 100])


def _log_axis(axes: Axes) -> None:
    """Makes the x axis logarithmic with plain numbers at 1, 2, 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
