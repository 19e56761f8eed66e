"""Success, steps and calls of a policy through ROS 2, beside Gymnasium with the same checkpoint, states and measured delay.

For each engine and each behaviour of the arm's controller: sim arm, policy and monitor as processes over real DDS run the first test
states; then `evaluate_policy` runs the same states with the measured delay, rounded to whole steps. Intervals are Wilson's for success and
the bootstrap's for means; differences are paired by initial state (Tango's interval for success, ratios over common successes).

    python benchmarks/ros_against_gym.py --policy runs/demo-arm/trimmed --episodes 100 --out runs/ros-against-gym

Stopped and started again it goes on with the rows that are missing. The clock is the simulation's. With --real-time-factor 2 it runs at
twice the speed: the policy's computing time then counts twice in simulated time, so that the measured delay is that of a robot with a
computer half as fast. Both columns have that delay; only figures at factor 1 are those of this machine. The result is
`ros_against_gym.json` and `ros_against_gym.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CorruptReport
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.experiments.settings import keep_settings
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_ros.demo.__main__ import measure
from policytrim_ros.demo.comparison import Measured, difference_lines, table_lines
from policytrim_ros.demo.node_processes import local_domain
from policytrim_ros.demo.subject import load_subject

ENGINES, CONTROLLERS = ("mujoco", "pybullet"), ("hard", "stamp")


def row_to_json(row: Measured) -> dict[str, Any]:
    """Returns a row with its episodes, as JSON-ready values."""
    return {**row.to_json(), "ros": row.ros.to_json(), "gym": row.gym.to_json()}


def row_from_json(values: dict[str, Any]) -> Measured:
    """Takes back what `row_to_json` gave."""
    arms = (EfficiencyReport.from_json(values[key]) for key in ("ros", "gym"))
    return Measured(values["policy"], *arms, values["measured_delay_steps"], values["num_refused"], tuple(values["stops"]))


def kept(file: Path) -> Measured | None:
    """Returns the row that a file holds, None where there is none.

    Raises:
        CorruptReport: the file is no row.
    """
    if not file.exists():
        return None
    try:
        return row_from_json(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptReport(f"{file} must hold a row of this table ({error}); delete it to measure it again") from error


def measured_rows(options: argparse.Namespace) -> list[Measured]:
    """Returns the rows, each from its file or measured now and written."""
    subject, environment, rows = load_subject(options.policy), local_domain(), []
    os.environ.update(environment)  # of the driver's own node
    for engine, controller in product(options.engines, options.controllers):
        name = f"{engine}-{controller}"
        file = options.out / "rows" / f"{name}.json"
        row = kept(file)
        if row is None:
            setting = argparse.Namespace(**{**vars(options), "engine": engine, "controller": controller})
            row = measure(name, subject, environment, setting)
            write_json_atomic(file, row_to_json(row))
        rows.append(row)
        print("\n".join(difference_lines([row])), flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is missing, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", type=Path, required=True, help="checkpoint folder, for one task of the arm")
    parser.add_argument("--episodes", type=int, default=100, help="of each row, the first test states")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--controllers", nargs="+", choices=CONTROLLERS, default=CONTROLLERS)
    parser.add_argument("--real-time-factor", type=float, default=1.0, help="simulated seconds in a second")
    parser.add_argument("--out", type=Path, required=True, help="for rows, recordings and logs")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then every process is ended
    settings = {"policy": str(options.policy), "episodes": options.episodes, "real_time_factor": options.real_time_factor}
    keep_settings(options.out, settings)
    rows = measured_rows(options)
    text = "\n".join([*table_lines(rows), "", *difference_lines(rows)])
    command = " ".join(["python", "benchmarks/ros_against_gym.py", *sys.argv[1:]])
    # The episodes stand in the rows' own files.
    write_json_atomic(options.out / "ros_against_gym.json", {"command": command, **settings, "rows": [row.to_json() for row in rows]})
    write_atomic(options.out / "ros_against_gym.txt", text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
