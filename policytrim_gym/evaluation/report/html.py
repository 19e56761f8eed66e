"""report.html: one file that needs nothing else, for a desktop or a phone, light or dark."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CannotWrite, MissingExtra
from policytrim_gym.evaluation.comparison import EfficiencyRatios
from policytrim_gym.evaluation.report import plots, transfer
from policytrim_gym.evaluation.report.build import ReportArms, report_arms
from policytrim_gym.evaluation.report.tables import MOTION_NOTE, WALL_CLOCK_NOTE, arm_rows, table_note, task_rows
from policytrim_gym.evaluation.report.verdict import directed_interval, factor_words, points
from policytrim_gym.evaluation.report.words import duration, factor, interval_words, number, percent
from policytrim_gym.evaluation.statistics import NonInferiority, Ratio
from policytrim_gym.files import write_atomic

TEMPLATE = "report.html.j2"
_OPTIONAL_KEYS = ("demonstrator", "best_untrained", "wall_clock_model")
_VIDEO_TYPES = {".gif": "image/gif", ".png": "image/png", ".webp": "image/webp", ".mp4": "video/mp4", ".webm": "video/webm"}


def render_report(
    report: Mapping[str, Any],
    out_dir: str | os.PathLike[str],
    training_curves: Sequence[Mapping[str, Any]] | None = None,
    video: str | os.PathLike[str] | bytes | None = None,
) -> Path:
    """Writes report.html into a folder.

    Args:
        report: as `build_report` or `load_report` gave it.
        out_dir: created when it does not exist.
        training_curves: rows as in `plots.training_curves`, or None.
        video: a GIF, MP4 or WebM file, or a GIF's bytes; put into the page.

    Returns:
        The path of the page.

    Raises:
        CorruptReport: the report lacks a key.
        MissingExtra: jinja2 or matplotlib is not installed.
        CannotWrite: the page could not be written, or the video not be read.
    """
    path = Path(out_dir) / "report.html"
    write_atomic(path, report_html(report, training_curves, video))
    return path


def report_html(
    report: Mapping[str, Any],
    training_curves: Sequence[Mapping[str, Any]] | None = None,
    video: str | os.PathLike[str] | bytes | None = None,
) -> str:
    """Returns the page of `render_report` as text."""
    arms = report_arms(report)
    rows = arm_rows(arms)
    reference = (report.get("reference") or {}).get("name")
    values = {
        "report": {**dict.fromkeys(_OPTIONAL_KEYS), **report},
        "verdict": report.get("verdict"),
        "tone": _tone(report.get("verdict")),
        "comparisons": _comparison_cards(report, arms),
        "rows": [{"label": row.label, "role": row.role, "on_front": row.on_front, "cells": row.cells(), "arm": row.arm} for row in rows],
        "columns": list(rows[0].cells()),
        "table_note": table_note(report),
        "transfer": {
            "title": transfer.TITLE,
            "columns": transfer.COLUMNS,
            "rows": transfer.transfer_rows(report),
            "note": transfer.transfer_note(report),
        },
        "tasks": task_rows(report, arms),
        "figures": _figures(arms),
        "training_svg": plots.to_svg(plots.training_curves(training_curves), "Training curves") if training_curves else None,
        "video": _video(video),
        "bounds": _bounds(report),
        "has_motion": rows[0].has_motion,
        "motion_note": MOTION_NOTE,
        "reference": reference,
        "reference_note": f"The {reference} is a scripted reference and no bound: a policy can need fewer steps.",
        "wall_clock_note": WALL_CLOCK_NOTE,
        "facts": _facts(report),
        "palettes": {"light": plots.LIGHT, "dark": plots.DARK},
    }
    return load_template("policytrim_gym.evaluation.report", TEMPLATE).render(values)


def save_headline_plot(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes success against calls as PNG, the one picture of a README or model card."""
    write_atomic(path, plots.to_png(plots.success_against_calls(report_arms(report))))


def load_template(package: str, name: str) -> Any:
    """Returns a page's template, a file of a package, with the filters that write numbers.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra('the page of a report needs jinja2: pip install "policytrim[report]"') from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, factor=factor, duration=duration, percent=percent, interval=interval_words)
    source = files(package).joinpath(name).read_text(encoding="utf-8")
    return environment.from_string(source)


def _tone(verdict: Mapping[str, Any] | None) -> str:
    """Returns "good", "mixed" or "bad", by the hardest opponent that was met."""
    if not verdict:
        return "mixed"
    outcomes = {verdict["beats_stock"], verdict["beats_best_untrained"] or verdict["beats_stock"]}
    return "bad" if "no" in outcomes else "mixed" if "unresolved" in outcomes else "good"


def _comparison_cards(report: Mapping[str, Any], arms: ReportArms) -> list[dict[str, Any]]:
    """Returns the numbers of each comparison, the harder opponent first."""
    cards = []
    for title, suffix, opponent in (
        ("the best untrained setting", "_to_best_untrained", arms.best_untrained),
        ("stock", "", arms.baseline),
    ):
        if opponent is None or not report.get(f"ratios{suffix}"):
            continue
        ratios = EfficiencyRatios.from_json(report[f"ratios{suffix}"])
        success = NonInferiority.from_json(report[f"non_inferiority{suffix}"])
        costs = (("calls", ratios.replans, "fewer"), ("steps", ratios.steps, "fewer"), ("wall-clock", ratios.wall_clock, "less"))
        cards.append(
            {
                "title": title,
                "name": opponent.name,
                "numbers": [_big_number(noun, ratio, fewer) for noun, ratio, fewer in costs],
                "published": ratios.published_definition,
                "success": success,
                "success_words": f"{points(success.difference, sign=True)} points",
                "interval_words": f"{points(success.ci95.low, sign=True)} to {points(success.ci95.high, sign=True)}",
                "margin_words": points(success.margin),
                "resolved_words": points(success.smallest_margin_resolved),
                "bar": _interval_bar(success),
            }
        )
    return cards


def _big_number(noun: str, ratio: Ratio, fewer: str) -> dict[str, str]:
    words = factor_words(ratio, noun, fewer)
    value, _, rest = words.partition(" ") if ratio.value else ("–", "", words)
    interval = directed_interval(ratio)
    return {"value": value, "words": rest, "interval": "" if interval is None else f"{interval.low:.2f}x to {interval.high:.2f}x"}


def _interval_bar(success: NonInferiority) -> dict[str, float]:
    """Returns positions [%] on a bar that holds the interval, the margin and zero."""
    reach = 1.15 * max(abs(success.ci95.low), abs(success.ci95.high), success.margin)

    def place(value: float) -> float:
        return round(50 + 50 * value / reach, 2)

    low, high = place(success.ci95.low), place(success.ci95.high)
    return {
        "low": low,
        "width": round(high - low, 2),
        "estimate": place(success.difference),
        "margin": place(-success.margin),
        "zero": 50.0,
    }


def _figures(arms: ReportArms) -> list[dict[str, str]]:
    """Returns the plots with their captions."""
    drawn = (
        (
            "Success against calls",
            plots.success_against_calls(arms),
            "Every arm on the same test states. Right to left is fewer calls; the line joins the arms that none betters in both.",
        ),
        (
            "Success against horizon",
            plots.success_against_horizon(arms),
            "The untrained policy at each horizon and playback rate, with 95 % intervals, and where the trimmed policy stands.",
        ),
        (
            "Episodes done by each step",
            plots.success_over_time(arms),
            "The distribution of steps with the failures left in: a curve ends at its success rate. Further left and higher is better.",
        ),
        (
            "Steps by task",
            plots.steps_by_task(arms),
            "Steps to success over successes: bar from first to third quartile, marker at the median.",
        ),
    )
    return [{"title": title, "svg": plots.to_svg(draw, title), "caption": caption} for title, draw, caption in drawn]


def _video(video: str | os.PathLike[str] | bytes | None) -> dict[str, str] | None:
    """Returns the video as a data URI."""
    if video is None:
        return None
    if isinstance(video, bytes):
        data, kind = video, "image/gif"
    else:
        try:
            data = Path(video).read_bytes()
        except OSError as error:
            raise CannotWrite(f"could not read the video {video}: {error.strerror or error}") from error
        kind = _VIDEO_TYPES.get(Path(video).suffix.lower(), "image/gif")
    return {"kind": kind.split("/")[0], "uri": f"data:{kind};base64,{base64.b64encode(data).decode()}"}


def _bounds(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns, for each arm, its calls beside the fewest, its steps beside the reference's and its motion beside the shortest."""
    rows = []
    for key, bounds in (report.get("lower_bounds") or {}).items():
        steps, reference = bounds["steps"], bounds["steps_reference"]
        rows.append(
            {
                "arm": report[key]["name"] if key in report else key,
                "calls": number(bounds["calls"]),
                "calls_bound": number(bounds["calls_bound"]),
                "calls_headroom": factor(bounds["calls_headroom"]),
                "steps": number(sum(steps.values()) / len(steps) if steps else None),
                "reference": number(sum(reference.values()) / len(reference) if reference else None),
                "steps_headroom": factor(bounds["steps_headroom"]),
                # Reports from before motion was measured lack these.
                "motion": duration(bounds.get("motion_s")),
                "shortest": duration(bounds.get("shortest_s")),
                "motion_headroom": factor(bounds.get("motion_headroom")),
            }
        )
    return rows


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns how the numbers came about, as pairs of word and value; what is unknown is left out."""
    training = report.get("training") or {}
    pairs = [
        ("policy", report["policy"]),
        ("environment", report["env"]),
        ("demonstrations", report.get("demonstrator")),
        ("seed", report["seed"]),
        ("episodes an arm", report["num_episodes"]),
        *(_training_fact(key, value) for key, value in training.items() if isinstance(value, (str, int, float))),
        ("command", report.get("command")),
    ]
    return [(word, str(value)) for word, value in pairs if value is not None]


def _training_fact(key: str, value: str | float) -> tuple[str, str]:
    """Returns a fact of the training as a reader would say it.

    >>> _training_fact("finished", True), _training_fact("success_floor", 1.0), _training_fact("seconds", 197.72)
    (('training: finished', 'yes'), ('training: success floor', '100.0 %'), ('training: duration', '3.3 min'))
    >>> _training_fact("timesteps", 702165)
    ('training: timesteps', '702,165')
    """
    word = key.replace("_", " ")
    if isinstance(value, bool):
        return f"training: {word}", "yes" if value else "no"
    if isinstance(value, str):
        return f"training: {word}", value
    if key == "seconds":
        return "training: duration", f"{value / 60:.1f} min"
    if "success" in key:
        return f"training: {word}", percent(value)
    return f"training: {word}", f"{value:,}" if isinstance(value, int) else f"{value:g}"
