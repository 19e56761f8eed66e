"""Real processes that are killed and inputs that freeze: how the arm comes to stand still, why, how it goes on, and what the record says.

Sim arm, policy server, policy_node and monitor_node run as processes over real DDS, and a policy moves the arm without end. Then one of
server, policy_node and monitor_node gets kill -9, or the front camera or the joint states reach policy_node no longer. The arm must come to
rest in time, by its joint states; the last command on the wire must be a hold where it stands; /diagnostics must name the reason; nothing
may move again before the fault is mended and `policy/rearm` called (`policy/start` of a new policy_node). Without monitor_node the arm must
go on. Every chunk that this process heard of must be told of by monitor_node exactly once, on its topic and in its recordings; what ran
while no monitor did is counted apart.

    python benchmarks/ros_faults.py
    python benchmarks/ros_faults.py --repeats 1 --real-time-factor 0.25 --faults camera --json runs/ros_faults.json

Without --real-time-factor all clocks are the machine's. With it they are the simulation's: at 0.25 a busy machine has four times as long
for everything, and times are simulated ones.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ros_fault_scene import CAMERA, JOINTS, MONITOR, POLICY, SERVER, FaultScene, Heard
from ros_probe import machine
from ros_scripted_policies import CHUNK_SIZE, DT_S, ROBOT

from policytrim_gym.cli.text_table import aligned
from policytrim_gym.errors import WorkerFailed
from policytrim_gym.files import write_json_atomic
from policytrim_ros.control.chunk_execution import EndReason
from policytrim_ros.demo.node_processes import local_domain
from policytrim_ros.nodes.policy_settings import PolicySettings
from policytrim_ros.recording.reader import read_recording

SETTINGS = PolicySettings()
START, REARM = "policy/start", "policy/rearm"
BEGIN_S = 0.1
"""Braking begins so soon after a timeout [s]."""
BRAKE_S = float((ROBOT.arm_limits.velocity / ROBOT.arm_limits.acceleration).max())
COLUMNS = (
    "fault",
    "reason",
    "braking",
    "standstill (limit)",
    "resumed",
    "as it must",
    "chunks: heard, told, recorded, unwatched",
    "record",
)
STILL_S = 1.0
"""So long the arm must stand still to have come to rest [s]."""
UNTOLD_S = 2.5
"""A chunk so shortly before monitor_node was killed may be lost: the chunk's time, `settle_s`, and a second of recording [s]."""
TOLD_S = 6.0
"""By then monitor_node has told of a chunk that ended [s]."""


@dataclass(frozen=True)
class Fault:
    """Something that breaks.

    Args:
        name: of its row.
        part: process to kill, or topic to freeze.
        reasons: that /diagnostics may name; none: nobody is left to name one.
        within_s: the arm stands still by then [s]; None: it goes on.
    """

    name: str
    part: str
    reasons: frozenset[str]
    within_s: float | None

    def strike(self, scene: FaultScene) -> None:
        """Breaks it."""
        if self.part in (CAMERA, JOINTS):
            scene.frozen.add(self.part)
        else:
            scene.kill(self.part)

    def mend(self, scene: FaultScene) -> None:
        """Mends it, and returns when it works again."""
        if self.part in (CAMERA, JOINTS):
            scene.frozen.discard(self.part)
            return
        since_s = scene.heard.now_s
        scene.start(self.part)
        if self.part != SERVER:
            scene.until(partial(scene.says, self.part, since_s), f"a word of the new {self.part}")
            scene.pause(STILL_S)  # it has found the others, too


def _after(timeout_s: float) -> float:
    return timeout_s + BEGIN_S + BRAKE_S


FAULTS = {
    "server": Fault("kill -9 policy server", SERVER, frozenset({"policy_failed", "policy_silent"}), _after(SETTINGS.policy_timeout_s)),
    "policy_node": Fault("kill -9 policy_node", POLICY, frozenset(), CHUNK_SIZE * DT_S + SETTINGS.settle_s),
    "monitor_node": Fault("kill -9 monitor_node", MONITOR, frozenset(), None),
    "camera": Fault("frozen camera", CAMERA, frozenset({"image_silent"}), _after(SETTINGS.frame_timeout_s)),
    "joint_states": Fault("frozen joint states", JOINTS, frozenset({"joint_states_silent"}), _after(SETTINGS.joint_states_timeout_s)),
}


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. Times count from it [s]; `problems` is empty when all is as it must be."""

    reason: str
    braking_s: float | None  # until the first trajectory that is not a chunk's
    standstill_s: float | None
    resumed_s: float | None  # from the call that resumes until the second chunk
    unwatched_s: tuple[float, float] | None  # when no monitor could know of a chunk
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """Chunks of all trials of a fault: heard of here, told of by monitor_node, and found in its recordings."""

    num_published: int
    num_told: int
    num_recorded: int
    num_unwatched: int
    problems: tuple[str, ...]


def identity(stamp_s: float | None) -> int:
    """Returns what tells a chunk from all others: its stamp in microseconds."""
    assert stamp_s is not None
    return round(stamp_s * 1e6)


def move(scene: FaultScene, service: str) -> float:
    """Has the arm move, and returns how long it took until two chunks were there [s].

    On a busy machine joint states may be too late for the first chunks, which stops the arm again; then it is rearmed, and that is told.
    """
    heard = scene.heard
    begin_s = asked_s = heard.now_s
    first = len(heard.chunks)

    def moves() -> bool:
        nonlocal asked_s
        reasons = heard.reasons(asked_s)
        if reasons:  # of a stop since then, or of one that /diagnostics told of before it was rearmed, which rearming again leaves alone
            asked_s = heard.now_s
            if scene.ask(REARM):
                print(f"stopped again after {service}, {', '.join(sorted(reasons))}, and rearmed", file=sys.stderr)
        return len(heard.chunks) >= first + 2 and heard.still_since_s is None

    # A start whose answer was lost may have been stopped since. Before a rearm a reason is told of all the time, and says nothing.
    may_have_stopped = service == START
    scene.until(
        lambda: scene.ask(service) or len(heard.chunks) > first or (may_have_stopped and heard.reasons(begin_s)), f"{service} to agree"
    )
    scene.until(moves, f"two chunks after {service}")
    return heard.now_s - begin_s


def rests(heard: Heard, since_s: float) -> bool:
    """Returns whether the arm has stood still for long enough, and longer than since a time."""
    still_since_s = heard.still_since_s
    return still_since_s is not None and still_since_s > since_s and heard.now_s > still_since_s + STILL_S


def first_stop_s(heard: Heard, since_s: float) -> float | None:
    """Returns when the first trajectory after a time came that is not a chunk's, from that time on [s]."""
    chunks = {identity(chunk.stamp_s) for chunk in heard.chunks}
    times = [at_s - since_s for at_s, trajectory in heard.sent if at_s >= since_s and identity(trajectory.stamp_s) not in chunks]
    return min(times, default=None)


def try_fault(scene: FaultScene, fault: Fault) -> Outcome:
    """Breaks something while the arm moves, looks, mends it and goes on."""
    heard = scene.heard
    begin_s = heard.now_s
    fault.strike(scene)
    if fault.within_s is None:
        scene.pause(2 * CHUNK_SIZE * DT_S)
        problems = () if heard.still_since_s is None else ("the arm must move on, it stands still",)
        fault.mend(scene)
        return Outcome("-", first_stop_s(heard, begin_s), None, None, (begin_s - UNTOLD_S, heard.now_s), problems)
    scene.until(partial(rests, heard, begin_s), "a standstill")
    assert heard.still_since_s is not None
    standstill_s = heard.still_since_s - begin_s
    if fault.reasons:
        scene.until(partial(heard.reasons, begin_s), "a reason in /diagnostics")
    reasons, braking_s = heard.reasons(begin_s), first_stop_s(heard, begin_s)
    found = {
        f"it must stand still within {fault.within_s:.2f} s, it did after {standstill_s:.2f} s": standstill_s > fault.within_s,
        f"the reason must be one of {sorted(fault.reasons)}, got {sorted(reasons)}": not reasons <= fault.reasons,
        "the last command must be a hold where the arm is, it is not": not heard.is_held(),
        f"a stop on the wire must come with a reason alone, it came after {braking_s} s": (braking_s is None) == bool(fault.reasons),
    }
    still_since_s, num_chunks = heard.still_since_s, len(heard.chunks)
    fault.mend(scene)
    scene.pause(STILL_S)
    # A hold may still come: it is where the arm is measured, which frozen joint states did not say.
    moved = heard.still_since_s != still_since_s or len(heard.chunks) > num_chunks or not heard.is_held()
    found["nothing may move before it is resumed, something did"] = moved
    resumed_s = move(scene, START if fault.part == POLICY else REARM)
    problems = tuple(words for words, is_wrong in found.items() if is_wrong)
    return Outcome(", ".join(sorted(reasons)) or "-", braking_s, standstill_s, resumed_s, None, problems)


def stop(scene: FaultScene) -> None:
    """Stops the arm, and returns when monitor_node has told of the last chunk."""
    begin_s = scene.heard.now_s
    scene.until(lambda: scene.ask("policy/stop"), "policy/stop to agree")
    scene.until(partial(rests, scene.heard, begin_s), "a standstill")
    scene.pause(TOLD_S)


def compared(fault: Fault, heard: Heard, outcomes: Sequence[Outcome], recordings: Sequence[Path]) -> Record:
    """Compares what monitor_node told and recorded with what this process heard."""
    published = Counter(identity(chunk.stamp_s) for chunk in heard.chunks)
    wire = Counter(identity(trajectory.stamp_s) for _, trajectory in heard.sent)
    told = Counter(identity(chunk.record.stamp_s) for chunk in heard.executions)
    recorded = Counter(identity(chunk.record.stamp_s) for path in recordings for chunk in read_recording(path).chunks)
    gaps = [outcome.unwatched_s for outcome in outcomes if outcome.unwatched_s]
    unwatched = {stamp for stamp in published if any(begin <= stamp * 1e-6 <= end for begin, end in gaps)}
    details = {chunk.detail for chunk in heard.executions if chunk.reason is EndReason.STOPPED} - {"stopped"}
    found = {
        "chunks whose trajectory was not heard once": {stamp for stamp in published if wire[stamp] != 1},
        "chunks not told of": published.keys() - told.keys() - unwatched,
        "chunks not recorded": published.keys() - recorded.keys() - unwatched,
        "chunks doubled": {stamp for counts in (published, told, recorded) for stamp, count in counts.items() if count > 1},
        "chunks told of that nobody published": (told.keys() | recorded.keys()) - published.keys(),
        f"reasons of stopped chunks other than {sorted(fault.reasons)}": details - fault.reasons,
    }
    problems = tuple(f"{words}: {len(wrong)}" for words, wrong in found.items() if wrong)
    return Record(len(published), len(told), len(recorded), len(unwatched - told.keys()), problems)


def measure(fault: Fault, arguments: argparse.Namespace, folder: Path) -> tuple[list[Outcome], Record]:
    """Tries a fault several times with the same processes, in a domain of its own."""
    environment = local_domain()
    os.environ.update(environment)
    with FaultScene(folder, environment, arguments.real_time_factor) as scene:
        move(scene, START)
        outcomes = []
        for _ in range(arguments.repeats):
            scene.pause(CHUNK_SIZE * DT_S)
            outcomes.append(try_fault(scene, fault))
        scene.pause(CHUNK_SIZE * DT_S)
        stop(scene)
    return outcomes, compared(fault, scene.heard, outcomes, sorted(folder.glob("recording*")))


def row(fault: Fault, outcomes: Sequence[Outcome], record: Record) -> list[str]:
    """Returns a row of the table: the longest times of all trials."""

    def longest(times: Sequence[float | None]) -> str:
        return f"{max(time_s for time_s in times if time_s is not None):.2f} s" if any(time_s is not None for time_s in times) else "-"

    standstill = longest([outcome.standstill_s for outcome in outcomes])
    limit = "moves on" if fault.within_s is None else f"{standstill} ({fault.within_s:.2f} s)"
    num_right = sum(not outcome.problems for outcome in outcomes)
    return [
        fault.name,
        ", ".join(sorted({outcome.reason for outcome in outcomes})),
        longest([outcome.braking_s for outcome in outcomes]),
        limit,
        longest([outcome.resumed_s for outcome in outcomes]),
        f"{num_right} of {len(outcomes)}",
        f"{record.num_published}, {record.num_told}, {record.num_recorded}, {record.num_unwatched}",
        "; ".join(record.problems) or "none lost or doubled",
    ]


def main() -> int:
    """Tries all faults, prints the table, and returns 1 when something was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=tuple(FAULTS))
    parser.add_argument("--repeats", type=int, default=5, help="of each fault")
    parser.add_argument("--real-time-factor", type=float, help="simulated seconds in a second; without it all clocks are the machine's")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--logs", type=Path, help="folder for logs and recordings; default: none stay")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then every process is ended
    rows, figures, problems = [list(COLUMNS)], {}, []
    with TemporaryDirectory() as temporary:
        for name in arguments.faults:
            fault = FAULTS[name]
            try:
                outcomes, record = measure(fault, arguments, Path(arguments.logs or temporary, name))
            except KeyboardInterrupt:
                print("interrupted; all processes have ended", file=sys.stderr)
                return 130
            except WorkerFailed as error:
                problems.append(f"{fault.name}: {error}")
                continue
            rows.append(row(fault, outcomes, record))
            figures[name] = {"outcomes": [asdict(outcome) for outcome in outcomes], "record": asdict(record)}
            problems += [f"{fault.name}: {words}" for part in (*outcomes, record) for words in part.problems]
            print(", ".join(rows[-1]), flush=True)
    print("\n".join([*aligned(rows), *problems]))
    if arguments.json:
        settings = {"repeats": arguments.repeats, "real_time_factor": arguments.real_time_factor, **machine()}
        write_json_atomic(arguments.json, {**settings, "faults": figures, "problems": problems})
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
