"""One page of a recording: the rollouts' table, and where the joints were told to be and were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from policytrim_gym.evaluation.report import plots
from policytrim_gym.evaluation.report.html import load_template
from policytrim_gym.files import write_atomic
from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.recording import summary
from policytrim_ros.recording.reader import Recording, commanded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PLOTS = 6
"""Rollouts that are drawn; a plot takes 100 kB."""
MOST_POINTS = 1500
"""Of a curve."""
LEAST_RANGE_RAD = 0.05


def write_page(recording: Recording, path: Path) -> None:
    """Writes the page.

    Raises:
        MissingExtra: jinja2 or matplotlib is not installed.
        CannotWrite: the page could not be written.
    """
    numbers = recording.numbers
    titles = {number: f"Joints in rollout {number}" for number in numbers[:MOST_PLOTS]}
    svgs = {title: joint_plot(recording, recording.chunks_of(number)) for number, title in titles.items()}
    values = {
        "recording": recording,
        "columns": ("rollout", *summary.COLUMNS),
        "rows": summary.rollout_rows(recording),
        "note": summary.NOTE,
        "rests": summary.rests(recording),
        "figures": [{"title": title, "svg": plots.to_svg(draw, title)} for title, draw in svgs.items() if draw is not None],
        "num_undrawn": max(0, len(numbers) - MOST_PLOTS),
        "palettes": {"light": plots.LIGHT, "dark": plots.DARK},
    }
    write_atomic(path, load_template("policytrim_ros.recording", "recording.html.j2").render(values))


def joint_plot(recording: Recording, chunks: list[ChunkExecution]) -> plots.Draw | None:
    """Draws commanded and measured positions of each joint over a rollout, with a line where a chunk took over.

    None when the recording has no joints.
    """
    history = recording.measured
    if history is None or not chunks:
        return None
    takeovers = [join_s for join_s in (chunk.record.join_s for chunk in chunks) if join_s is not None]
    begin_s, end_s = min(takeovers), max(chunk.end_s for chunk in chunks)
    times, measured = history.between(begin_s, end_s)
    stride = max(1, len(times) // MOST_POINTS)
    times, measured = times[::stride], measured[::stride]
    if len(times) == 0:
        return None
    told = commanded(recording, history.joints, times)

    def draw(palette: plots.Palette) -> Figure:
        figure, panels = plots.styled_figure(palette, height=1.0 + 1.0 * len(history.joints), panels=len(history.joints))
        for axes, name, target, position in zip(np.atleast_1d(np.array(panels, dtype=object)), history.joints, told.T, measured.T):
            for join_s in takeovers:
                axes.axvline(join_s - begin_s, color=palette.muted, linewidth=0.7, linestyle=":")
            axes.plot(times - begin_s, target, color=palette.best_untrained, linewidth=2.4, alpha=0.6, label="commanded")
            axes.plot(times - begin_s, position, color=palette.stock, linewidth=1.0, label="measured")
            axes.set_ylabel(name, fontsize=8)
            middle = float(np.nanmean([position.min(), position.max()]))
            low, high = axes.get_ylim()  # a joint that rests is drawn as a line, not as its noise
            axes.set_ylim(min(low, middle - LEAST_RANGE_RAD / 2), max(high, middle + LEAST_RANGE_RAD / 2))
        axes.set_xlabel("time [s], positions [rad]; dotted: a chunk takes over")
        plots.legend_below(figure, axes, palette)
        return figure

    return draw
