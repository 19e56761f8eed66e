"""Sim to sim: stock and trimmed policy in another simulation than the one of the training, on the same test states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policytrim_gym.errors import CorruptReport
from policytrim_gym.evaluation.comparison import EfficiencyRatios, compare_arms
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.report.verdict import factor_words, points
from policytrim_gym.evaluation.report.words import NOTHING, interval_words, number, percent
from policytrim_gym.evaluation.statistics import NonInferiority

TITLE = "Sim to sim"
COLUMNS = ("success", "steps", "calls", "success between simulations, points")
ROLES = ("stock", "trimmed")
KEYS = ("env_kwargs", "home", "away", *ROLES, "between_simulations", "ratios", "non_inferiority")


@dataclass(frozen=True)
class Transfer:
    """The two policies of a report in another simulation.

    Args:
        env_kwargs: of the environment, replaced for this.
        home, away: the simulation of the training and the other one, in words such as "engine=mujoco".
        stock, trimmed: the arms there; they pair with the report's baseline and trimmed arm.

    >>> from policytrim_gym.metrics import RolloutRecord
    >>> def arm(name, success):
    ...     records = [RolloutRecord(success, 8, 1, (8,), 1.0, 0.1, task="push", initial_state=state) for state in range(20)]
    ...     return EfficiencyReport.from_rollouts(name, records, execute_horizon=8, chunk_size=8)
    >>> there = arm("stock in PyBullet", True), arm("trimmed in PyBullet", False)
    >>> transfer = Transfer({"engine": "pybullet"}, "engine=mujoco", "engine=pybullet", *there)
    >>> values = transfer.to_json(arm("stock", True), arm("trimmed", True), margin=0.05)
    >>> values["between_simulations"]["trimmed"]["difference"]
    -1.0
    >>> Transfer.from_json(values) == transfer
    True
    """

    env_kwargs: Mapping[str, Any]
    home: str
    away: str
    stock: EfficiencyReport
    trimmed: EfficiencyReport

    def to_json(self, baseline: EfficiencyReport, trimmed: EfficiencyReport, margin: float) -> dict[str, Any]:
        """Returns the key `transfer` of report.json.

        Args:
            baseline, trimmed: the report's own arms, in the simulation of the training.
            margin: of the non-inferiority of success.

        Raises:
            MismatchedRollouts: the arms do not cover the same states.
        """
        there = compare_arms(self.stock, self.trimmed, margin)
        between = zip(ROLES, ((baseline, self.stock), (trimmed, self.trimmed)))
        return {
            "env_kwargs": dict(self.env_kwargs),
            "home": self.home,
            "away": self.away,
            "stock": self.stock.to_json(),
            "trimmed": self.trimmed.to_json(),
            "between_simulations": {role: compare_arms(home, away, margin).success.to_json() for role, (home, away) in between},
            "ratios": there.ratios.to_json(),
            "non_inferiority": there.success.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Transfer:
        """Takes back what `to_json` gave.

        Raises:
            CorruptReport: a key is missing, also one that is only shown, or an arm is incomplete.
        """
        missing = [key for key in KEYS if key not in values]
        if missing:
            raise CorruptReport(f"transfer must hold {list(KEYS)}, it lacks {missing}")
        stock, trimmed = (EfficiencyReport.from_json(values[role]) for role in ROLES)
        return cls(values["env_kwargs"], values["home"], values["away"], stock, trimmed)


def kwargs_words(env_kwargs: Mapping[str, Any]) -> str:
    """Says arguments of an environment as a user types them.

    >>> kwargs_words({"engine": "pybullet", "max_episode_steps": 200})
    'engine=pybullet, max_episode_steps=200'
    """
    return ", ".join(f"{key}={value}" for key, value in env_kwargs.items())


@dataclass(frozen=True)
class TransferRow:
    """One policy in one simulation, ready to be shown."""

    label: str
    role: str
    cells: dict[str, str]


def transfer_rows(report: Mapping[str, Any]) -> list[TransferRow]:
    """Returns both policies in both simulations; nothing where a report has no transfer.

    Raises:
        CorruptReport: the transfer is incomplete.
    """
    values = report.get("transfer")
    if not values:
        return []
    transfer = Transfer.from_json(values)
    homes = (EfficiencyReport.from_json(report[key]) for key in ("baseline", "trimmed"))
    rows = []
    for role, home, away in zip(ROLES, homes, (transfer.stock, transfer.trimmed)):
        between = NonInferiority.from_json(values["between_simulations"][role])
        rows.append(TransferRow(f"{role}, {transfer.home}", role, _cells(home, None)))
        rows.append(TransferRow(f"{role}, {transfer.away}", role, _cells(away, between)))
    return rows


def transfer_note(report: Mapping[str, Any]) -> str:
    """Returns what the table shows and what the trim saves in the other simulation, in one paragraph; "" without a transfer."""
    values = report.get("transfer")
    if not values:
        return ""
    ratios, success = EfficiencyRatios.from_json(values["ratios"]), NonInferiority.from_json(values["non_inferiority"])
    return (
        f"Trained with {values['home']}, evaluated with it and with {values['away']} on the same test states ({success.num_pairs} pairs). "
        f"Steps and calls over successes; the last column is success with {values['away']} less success with {values['home']}, paired by "
        f"state, with its 95 % interval. With {values['away']} the trimmed policy needs {factor_words(ratios.replans, 'calls')} and "
        f"{factor_words(ratios.steps, 'steps')} than stock, and its success differs by {_difference(success)} points."
    )


def transfer_markdown(report: Mapping[str, Any]) -> str:
    """Returns the table with its heading and note as GitHub Markdown; "" without a transfer."""
    rows = transfer_rows(report)
    if not rows:
        return ""
    lines = [f"### {TITLE}", "", "| policy | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    lines += [f"| {row.label} | " + " | ".join(row.cells[column] for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines) + f"\n\n{transfer_note(report)}\n"


def _cells(arm: EfficiencyReport, between: NonInferiority | None) -> dict[str, str]:
    figures = (
        f"{percent(arm.success_rate)} {interval_words(arm.success_rate_ci95)}",
        number(arm.steps_mean_success),
        number(arm.num_replans_mean_success),
        NOTHING if between is None else _difference(between),
    )
    return dict(zip(COLUMNS, figures))


def _difference(success: NonInferiority) -> str:
    low, high = (points(bound, sign=True) for bound in success.ci95)
    return f"{points(success.difference, sign=True)} [{low}, {high}]"
