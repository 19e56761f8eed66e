"""What `policytrim report` does with a recording of monitor_node."""

from __future__ import annotations

import argparse
import importlib

from policytrim_gym.cli import options as shared
from policytrim_gym.cli.subjects import table_of
from policytrim_gym.cli.text_table import aligned


def report_recording(options: argparse.Namespace) -> None:
    """Prints the rollouts of `options.recording`, and draws a page beside it.

    Raises:
        CorruptRecording: no recording, or a damaged one.
        CannotWrite: the page could not be written.
    """
    # By name, at run time: nothing in this package needs the ROS one, and reading a recording needs no ROS.
    reader, summary, page = (importlib.import_module(f"policytrim_ros.recording.{part}") for part in ("reader", "summary", "page"))
    recording = reader.read_recording(options.recording)
    path = recording.path.with_suffix(".html")
    page.write_page(recording, path)
    if shared.write_json(options, summary.to_json(recording)):
        return
    if recording.cut_off:
        print(f"{recording.path} was cut off; this is what it holds up to there")
    arm = summary.arm_of(recording)
    if arm is not None:
        print("\n".join(table_of([arm])), end="\n\n")
    rows = summary.rollout_rows(recording)
    if rows:
        print("\n".join(aligned([("rollout", *summary.COLUMNS), *rows])))
    else:
        print("no rollout: no chunk was executed")
    if summary.rests(recording):
        print(summary.rests(recording))
    print(f"wrote {path}")
