"""`policytrim report`: prints a run's table and draws its page again."""

from __future__ import annotations

import argparse
from pathlib import Path

from policytrim_gym.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="run folder: report.json is read, report.html written")
    parser.add_argument("--video", metavar="FILE", type=Path, default=None, help="GIF, MP4 or WebM to put into the page")
    parser.add_argument("--markdown", action="store_true", help="print the table of all arms as Markdown")
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Renders the page, then prints the verdict and the table.

    Raises:
        CorruptReport: the folder holds no complete report.json.
        CannotWrite: the page could not be written.
    """
    from policytrim_gym.evaluation.report.build import load_report
    from policytrim_gym.evaluation.report.html import render_report
    from policytrim_gym.evaluation.report.tables import markdown_table, print_table

    report = load_report(options.out / "report.json")
    page = render_report(report, options.out, video=options.video)
    if shared.write_json(options, report):
        return
    if options.markdown:
        print(markdown_table(report), end="")
        return
    print_table(report)
    print(f"wrote {page}")
