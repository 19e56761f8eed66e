"""Sim to sim in a report: both policies in both simulations, paired by state, in the page and in the Markdown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_arms import synthetic_arm

from policytrim_gym.errors import CorruptReport, MismatchedRollouts
from policytrim_gym.evaluation.report.build import Provenance, build_report, load_report, save_report
from policytrim_gym.evaluation.report.html import report_html
from policytrim_gym.evaluation.report.tables import markdown_table
from policytrim_gym.evaluation.report.transfer import Transfer, transfer_rows
from policytrim_gym.experiments.pool import pool_experiments

STOCK, TRIMMED = synthetic_arm("h=8"), synthetic_arm("trimmed", horizon=32, pace=0.5)
AWAY = Transfer(
    {"engine": "pybullet"},
    "engine=mujoco",
    "engine=pybullet",
    synthetic_arm("stock in engine=pybullet", success_rate=0.9),
    synthetic_arm("trimmed in engine=pybullet", horizon=32, pace=0.5, success_rate=0.7),
)


def make_report(transfer: dict[str, Any] | None) -> dict[str, Any]:
    extra = {} if transfer is None else {"transfer": transfer}
    return build_report(Provenance("trimmed", "Arm", 0, extra=extra), baseline=STOCK, trimmed=TRIMMED, best_untrained="h=8")


def test_the_difference_is_away_minus_home_on_the_same_states() -> None:
    between = AWAY.to_json(STOCK, TRIMMED, margin=0.05)["between_simulations"]
    for role, home, away in (("stock", STOCK, AWAY.stock), ("trimmed", TRIMMED, AWAY.trimmed)):
        assert between[role]["difference"] == pytest.approx(away.success_rate - home.success_rate)
        assert between[role]["num_pairs"] == len(home.episodes)


def test_other_states_are_refused() -> None:
    with pytest.raises(MismatchedRollouts):
        AWAY.to_json(synthetic_arm("h=8", num_states=3), TRIMMED, margin=0.05)


def test_it_is_stored_and_shown_in_page_and_markdown(tmp_path: Path) -> None:
    save_report(make_report(AWAY.to_json(STOCK, TRIMMED, margin=0.05)), tmp_path / "report.json")
    report = load_report(tmp_path / "report.json")
    assert Transfer.from_json(report["transfer"]) == AWAY
    labels = [row.label for row in transfer_rows(report)]
    assert labels == ["stock, engine=mujoco", "stock, engine=pybullet", "trimmed, engine=mujoco", "trimmed, engine=pybullet"]
    page, markdown = report_html(report), markdown_table(report)
    for row in transfer_rows(report):
        assert f"<td>{row.label}</td>" in page and f"| {row.label} | {row.cells['success']} |" in markdown
    assert "Sim to sim" in page and "### Sim to sim" in markdown


def test_a_report_without_it_is_as_before() -> None:
    report = make_report(None)
    assert transfer_rows(report) == [] and "transfer" not in report
    assert "Sim to sim" not in report_html(report) + markdown_table(report)


@pytest.mark.parametrize("key", ["stock", "home", "between_simulations", "ratios"])
def test_an_incomplete_one_is_named(key: str) -> None:
    values = json.loads(json.dumps(AWAY.to_json(STOCK, TRIMMED, margin=0.05)))
    del values[key]
    with pytest.raises(CorruptReport, match=key):
        markdown_table(make_report(values))


def save_seeds(folder: Path, *transfers: Transfer | None) -> dict[int, Path]:
    """Writes one report for each transfer and returns their folders by seed."""
    for seed, transfer in enumerate(transfers):
        report = make_report(None if transfer is None else transfer.to_json(STOCK, TRIMMED, margin=0.05))
        save_report(report, folder / str(seed) / "report.json")
    return {seed: folder / str(seed) for seed in range(len(transfers))}


def test_seeds_are_pooled_in_both_simulations(tmp_path: Path) -> None:
    report = pool_experiments(save_seeds(tmp_path, AWAY, AWAY), tmp_path, [], "command")
    pooled = Transfer.from_json(report["transfer"])
    assert (pooled.home, pooled.away, pooled.stock.name) == (AWAY.home, AWAY.away, AWAY.stock.name)
    assert pooled.stock.success_rate == AWAY.stock.success_rate
    assert report["transfer"]["between_simulations"]["stock"]["num_pairs"] == 2 * len(STOCK.episodes)
    assert "transfer" not in pool_experiments(save_seeds(tmp_path, None, None), tmp_path, [], "command")


@pytest.mark.parametrize("other", [None, replace(AWAY, env_kwargs={"engine": "drake"})])
def test_seeds_with_other_transfers_are_not_pooled(tmp_path: Path, other: Transfer | None) -> None:
    with pytest.raises(MismatchedRollouts, match="seed 1 must have the transfer of the others"):
        pool_experiments(save_seeds(tmp_path, AWAY, other), tmp_path, [], "command")
