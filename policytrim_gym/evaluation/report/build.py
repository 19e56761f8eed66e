"""report.json: assembled from arms, written whole, read back with clear errors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CorruptReport, InvalidSpec
from policytrim_gym.evaluation.comparison import compare_arms, pair_episodes
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.lower_bounds import check_motion, lower_bounds
from policytrim_gym.evaluation.pareto import UntrainedSelection
from policytrim_gym.evaluation.report.verdict import Target, give_verdict
from policytrim_gym.files import write_atomic

SCHEMA = "policytrim.report/1"
REQUIRED_KEYS = ("schema", "policy", "env", "seed", "num_episodes", "baseline", "trimmed", "controls", "ratios", "non_inferiority")


@dataclass(frozen=True)
class WallClockSetting:
    """A machine that the wall-clock is modelled for.

    Args:
        t_infer_s: one inference [s].
        t_step_s: one control step [s].

    >>> WallClockSetting(t_infer_s=0.08, t_step_s=0.05).t_infer_s
    0.08
    """

    t_infer_s: float
    t_step_s: float

    def __post_init__(self) -> None:
        if not (self.t_infer_s >= 0 and self.t_step_s > 0):
            raise InvalidSpec(f"t_infer_s must be at least 0 and t_step_s above 0, got {self.t_infer_s} and {self.t_step_s}")


@dataclass(frozen=True)
class ReportArms:
    """The arms of a report by their roles; `best_untrained` is the baseline or one of the controls."""

    baseline: EfficiencyReport
    trimmed: EfficiencyReport
    controls: tuple[EfficiencyReport, ...]
    best_untrained: EfficiencyReport | None
    untrained_names: frozenset[str]

    @property
    def all(self) -> tuple[EfficiencyReport, ...]:
        """Every arm: baseline, trimmed, then the controls."""
        return (self.baseline, self.trimmed, *self.controls)

    def role(self, arm: EfficiencyReport) -> str:
        """Returns "stock", "trimmed", "best_untrained", "untrained" or "control"."""
        if arm.name == self.baseline.name:
            return "stock"
        if arm.name == self.trimmed.name:
            return "trimmed"
        if self.best_untrained is not None and arm.name == self.best_untrained.name:
            return "best_untrained"
        return "untrained" if arm.name in self.untrained_names else "control"


@dataclass(frozen=True)
class Provenance:
    """How the numbers of a report came about.

    Args:
        policy, env: what was evaluated, as a user would name it.
        seed: of the evaluation, or the training seeds that were pooled.
        command: that makes the report again.
        demonstrator: what kind of demonstrations the policy was cloned from.
        training: any JSON-ready mapping; its words and numbers are shown.
        extra: further JSON-ready keys of the report.

    >>> Provenance("runs/demo", "PolicyTrim/MetaWorld-v0", seed=0, demonstrator="full speed").to_json()["seed"]
    0
    """

    policy: str
    env: str
    seed: int | Sequence[int]
    command: str | None = None
    demonstrator: str | None = None
    training: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values, `extra` among them."""
        return {
            **(self.extra or {}),
            "policy": self.policy,
            "env": self.env,
            "seed": self.seed if isinstance(self.seed, int) else list(self.seed),
            "command": self.command,
            "demonstrator": self.demonstrator,
            "training": None if self.training is None else dict(self.training),
        }


def build_report(
    provenance: Provenance,
    *,
    baseline: EfficiencyReport,
    trimmed: EfficiencyReport,
    controls: Sequence[EfficiencyReport] = (),
    untrained: Sequence[str] = (),
    best_untrained: str | UntrainedSelection | None = None,
    reference: EfficiencyReport | None = None,
    margin: float = 0.03,
    cluster_by: str = "pair",
    targets: Sequence[Target] = (),
    wall_clock_settings: Sequence[WallClockSetting] = (WallClockSetting(0.05, 0.05),),
) -> dict[str, Any]:
    """Assembles report.json, as JSON-ready values, from arms that ran on the same test states.

    Args:
        provenance: how the numbers came about.
        baseline: the untrained policy at its stock setting.
        trimmed: the trained policy at its proven horizon.
        controls: every other arm.
        untrained: names of the controls that need no training; the plots set them apart.
        best_untrained: the setting chosen on validation states, or the name of its test arm; the baseline's name is allowed.
        reference: a scripted controller to set the steps beside; no bound, since a policy can be faster.
        margin: of the non-inferiority of success.
        cluster_by: as in `compare_arms`.
        targets: figures that were set before the measurement.
        wall_clock_settings: machines to model the wall-clock for.

    Raises:
        MismatchedRollouts: an arm does not cover the baseline's states.
        InvalidSpec: two arms of one name, or a name that is no arm's.
        LimitsBroken: the joints of an arm moved faster than their limits allow.
    """
    name = best_untrained.name if isinstance(best_untrained, UntrainedSelection) else best_untrained
    arms = _checked_arms((baseline, trimmed, *controls), [*untrained, *([] if name is None else [name])])
    best_arm = None if name is None else arms[name]
    stock = compare_arms(baseline, trimmed, margin, cluster_by)
    best = None if best_arm is None else compare_arms(best_arm, trimmed, margin, cluster_by)
    return {
        **provenance.to_json(),
        "schema": SCHEMA,
        "num_episodes": len(baseline.episodes),
        "verdict": give_verdict(stock, best, targets).to_json(),
        "ratios": stock.ratios.to_json(),
        "non_inferiority": stock.success.to_json(),
        "ratios_cluster_by": cluster_by,
        "best_untrained": _selection_json(best_untrained, best_arm),
        "ratios_to_best_untrained": None if best is None else best.ratios.to_json(),
        "non_inferiority_to_best_untrained": None if best is None else best.success.to_json(),
        "lower_bounds": {key: lower_bounds(arm, reference).to_json() for key, arm in (("baseline", baseline), ("trimmed", trimmed))},
        "reference": None if reference is None else reference.to_json(),
        "wall_clock_model": [_model_wall_clock(setting, baseline, trimmed, best_arm) for setting in wall_clock_settings],
        "untrained": list(untrained),
        "baseline": baseline.to_json(),
        "trimmed": trimmed.to_json(),
        "controls": [arm.to_json() for arm in controls],
    }


def report_arms(report: Mapping[str, Any]) -> ReportArms:
    """Reads the arms back from a report.

    Raises:
        CorruptReport: a key is missing or an arm is incomplete.
    """
    missing = [key for key in REQUIRED_KEYS if key not in report]
    if missing:
        raise CorruptReport(f"a report must hold {list(REQUIRED_KEYS)}, it lacks {missing}")
    if report["schema"] != SCHEMA:
        raise CorruptReport(f'a report must be of schema "{SCHEMA}", got {report["schema"]!r}')
    baseline, trimmed = EfficiencyReport.from_json(report["baseline"]), EfficiencyReport.from_json(report["trimmed"])
    controls = tuple(EfficiencyReport.from_json(arm) for arm in report["controls"])
    name = (report.get("best_untrained") or {}).get("name")
    best = {arm.name: arm for arm in (baseline, *controls)}.get(name or "")
    return ReportArms(baseline, trimmed, controls, best, frozenset(report.get("untrained", ())))


def save_report(report: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes report.json atomically, one line for each episode.

    Raises:
        CannotWrite: the file could not be written; what stood there is untouched.
    """
    write_atomic(path, _dumps(report))


def load_report(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads and checks report.json.

    Raises:
        CorruptReport: no such file, not JSON, another schema, or an arm is incomplete.
    """
    file = Path(path)
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorruptReport(f"could not read the report {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise CorruptReport(f"{file} is no JSON file, truncated perhaps: {error}") from error
    if not isinstance(report, dict):
        raise CorruptReport(f"{file} must hold a JSON object, got {type(report).__name__}")
    try:
        report_arms(report)
    except CorruptReport as error:
        raise CorruptReport(f"{file}: {error}") from error
    return report


def _checked_arms(arms: Sequence[EfficiencyReport], untrained: Sequence[str]) -> dict[str, EfficiencyReport]:
    """Returns the arms (baseline, trimmed, controls) by their names, each known to pair with the baseline and to be within its limits."""
    by_name = {arm.name: arm for arm in arms}
    if len(by_name) != len(arms):
        raise InvalidSpec(f"arms must have unique names, got {[arm.name for arm in arms]}")
    for arm in arms:
        pair_episodes(arms[0], arm)
        check_motion(arm)
    allowed = [arm.name for arm in arms if arm is not arms[1]]
    for name in untrained:
        if name not in allowed:
            raise InvalidSpec(f'untrained arms must be among {allowed}, got "{name}"')
    return by_name


def _selection_json(best_untrained: str | UntrainedSelection | None, arm: EfficiencyReport | None) -> dict[str, Any] | None:
    if best_untrained is None or arm is None:
        return None
    if isinstance(best_untrained, UntrainedSelection):
        return best_untrained.to_json()
    return {"name": arm.name, "execute_horizon": arm.execute_horizon, "playback_rate": arm.playback_rate, "candidates": []}


def _model_wall_clock(
    setting: WallClockSetting, baseline: EfficiencyReport, trimmed: EfficiencyReport, best_untrained: EfficiencyReport | None
) -> dict[str, Any]:
    """Returns modelled seconds to success, over successes, and the baseline's over the trimmed policy's."""
    values: dict[str, Any] = {"t_infer_s": setting.t_infer_s, "t_step_s": setting.t_step_s}
    for mode, asynchronous in (("synchronous", False), ("asynchronous", True)):
        arms = {"baseline": baseline, "trimmed": trimmed, "best_untrained": best_untrained}
        seconds = {
            key: None if arm is None else arm.modelled_wall_clock_s(setting.t_infer_s, setting.t_step_s, asynchronous)
            for key, arm in arms.items()
        }
        base, trim = seconds["baseline"], seconds["trimmed"]
        values[mode] = {**seconds, "ratio": base / trim if base and trim else None}
    return values


def _dumps(report: Mapping[str, Any]) -> str:
    """Returns indented JSON in which an episode takes one line: with every number on its own line a table would take a million."""
    lines: list[str] = []

    def shelve(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: shelf(item) if key == "episodes" else shelve(item) for key, item in value.items()}
        return [shelve(item) for item in value] if isinstance(value, (list, tuple)) else value

    def shelf(episodes: Sequence[Any]) -> str:
        lines.append("[\n" + ",\n".join(json.dumps(episode, allow_nan=False) for episode in episodes) + "\n]")
        return f"\x00episodes {len(lines) - 1}\x00"

    text = json.dumps(shelve(report), indent=1, allow_nan=False, ensure_ascii=False)
    head, *rest = text.split('"\\u0000episodes ')
    parts = [head]
    for piece in rest:
        index, tail = piece.split('\\u0000"', 1)
        parts += [lines[int(index)], tail]
    return "".join(parts) + "\n"
