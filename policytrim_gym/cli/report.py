"""`policytrim report`: prints a run's or a recording's table and draws its page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from policytrim_gym.cli import options as shared
from policytrim_gym.cli.recording import report_recording
from policytrim_gym.errors import CorruptReport, InvalidConfig

# Where an experiment keeps them. Named here and not imported: drawing a page needs neither torch nor a simulator. A test compares.
TRAINING_LOG = "trimmed/training.json"
VIDEO = "side-by-side.gif"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--out", metavar="DIR", type=Path, default=None, help="run folder: report.json is read, report.html written")
    source.add_argument(
        "recording", metavar="RECORDING", type=Path, nargs="?", default=None, help="of monitor_node: its folder, or the .mcap file in it"
    )
    parser.add_argument(
        "--video", metavar="FILE", type=Path, default=None, help=f"GIF, MP4 or WebM to put into the page (default: the folder's {VIDEO})"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table of all arms as Markdown")
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Renders the page, with the training curves and the video that the folder holds, then prints the verdict and the table.

    Raises:
        CorruptReport: the folder holds no complete report.json, or a damaged training log.
        CorruptRecording: no recording, or a damaged one.
        InvalidConfig: an option that a recording has no use for.
        CannotWrite: the page could not be written.
    """
    from policytrim_gym.evaluation.report.build import load_report
    from policytrim_gym.evaluation.report.html import render_report
    from policytrim_gym.evaluation.report.tables import markdown_table, print_table

    if options.recording is not None:
        if options.video is not None or options.markdown:
            raise InvalidConfig("--video and --markdown are for a run folder, got one of them with a recording")
        report_recording(options)
        return
    report = load_report(options.out / "report.json")
    video = options.video or (options.out / VIDEO if (options.out / VIDEO).exists() else None)
    page = render_report(report, options.out, training_rows(options.out / TRAINING_LOG), video)
    if shared.write_json(options, report):
        return
    if options.markdown:
        print(markdown_table(report), end="")
        return
    print_table(report)
    print(f"wrote {page}")


def training_rows(path: Path) -> list[dict[str, Any]] | None:
    """Returns the rows of a training log; None when there is none, as beside a pooled report.

    Raises:
        CorruptReport: the file is there, but no list of rows.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CorruptReport(f"{path} is no JSON file, truncated perhaps: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CorruptReport(f"{path} must hold a list of rows, got {type(rows).__name__}")
    return rows
