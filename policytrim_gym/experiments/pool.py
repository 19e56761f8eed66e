"""Pools the experiments of several training seeds into one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from policytrim_gym.errors import MismatchedRollouts
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport, pool_arms
from policytrim_gym.evaluation.report.build import Provenance, build_report, load_report, report_arms, save_report
from policytrim_gym.evaluation.report.html import render_report, save_headline_plot
from policytrim_gym.evaluation.report.transfer import Transfer
from policytrim_gym.evaluation.report.verdict import Target

BEST_UNTRAINED = "best untrained pair of each seed"


def pool_experiments(folders: Mapping[int, Path], out: Path, targets: Sequence[Target], command: str) -> dict[str, Any]:
    """Writes report.json, report.html and headline.png of all seeds together, and returns the report.

    Each seed chose its own best untrained setting on its own validation states; the pooled opponent is that choice of each seed.

    Args:
        folders: training seed -> folder of its experiment, each with a report.json.
        out: where the pooled files go.
        targets: figures that were set before the measurement.
        command: that made the experiments.

    Raises:
        MismatchedRollouts: the seeds do not have the same arms, or not the same transfer.
    """
    reports = {seed: load_report(folder / "report.json") for seed, folder in folders.items()}
    arms = {seed: {arm.name: arm for arm in report_arms(report).all} for seed, report in reports.items()}
    names = list(next(iter(arms.values())))
    for seed, by_name in arms.items():
        if set(by_name) != set(names):
            raise MismatchedRollouts(f"seed {seed} has other arms than the first: {sorted(set(by_name) ^ set(names))}")
    pooled = {name: pool_seeds(name, {seed: arms[seed][name] for seed in arms}) for name in names}
    first = next(iter(reports.values()))
    chosen = {seed: report["best_untrained"]["name"] for seed, report in reports.items()}
    pooled[BEST_UNTRAINED] = pool_seeds(BEST_UNTRAINED, {seed: arms[seed][name] for seed, name in chosen.items()})
    baseline, trimmed = first["baseline"]["name"], first["trimmed"]["name"]
    margin = first["non_inferiority"]["margin"]
    transfer = _pool_transfers(reports)
    report = build_report(
        Provenance(
            policy=first["policy"],
            env=first["env"],
            seed=list(folders),
            command=command,
            demonstrator=first["demonstrator"],
            training={str(seed): report["training"] for seed, report in reports.items()},
            extra={
                "best_untrained_by_seed": {str(seed): name for seed, name in chosen.items()},
                # Three seeds carry no interval over seeds, so they stand side by side.
                "trimmed_by_seed": {str(seed): _figures(by_name[trimmed]) for seed, by_name in arms.items()},
                **({} if transfer is None else {"transfer": transfer.to_json(pooled[baseline], pooled[trimmed], margin)}),
            },
        ),
        baseline=pooled[baseline],
        trimmed=pooled[trimmed],
        controls=[arm for name, arm in pooled.items() if name not in (baseline, trimmed)],
        untrained=[*first["untrained"], BEST_UNTRAINED],
        best_untrained=BEST_UNTRAINED,
        reference=EfficiencyReport.from_json(first["reference"]) if first.get("reference") else None,
        margin=margin,
        targets=targets,
    )
    save_report(report, out / "report.json")
    save_headline_plot(report, out / "headline.png")
    render_report(report, out)
    return report


def _pool_transfers(reports: Mapping[int, Mapping[str, Any]]) -> Transfer | None:
    """Returns the transfer of all seeds together, or None where no seed has one."""
    transfers = {seed: Transfer.from_json(report["transfer"]) for seed, report in reports.items() if report.get("transfer")}
    if not transfers:
        return None
    first = next(iter(transfers.values()))
    for seed in reports:
        if seed not in transfers or transfers[seed].env_kwargs != first.env_kwargs:
            held = dict(transfers[seed].env_kwargs) if seed in transfers else None
            raise MismatchedRollouts(f"seed {seed} must have the transfer of the others, {dict(first.env_kwargs)}, got {held}")
    return replace(
        first,
        stock=pool_seeds(first.stock.name, {seed: transfer.stock for seed, transfer in transfers.items()}),
        trimmed=pool_seeds(first.trimmed.name, {seed: transfer.trimmed for seed, transfer in transfers.items()}),
    )


def _figures(arm: EfficiencyReport) -> dict[str, Any]:
    """Returns an arm's figures without its episodes."""
    figures = {key: value for key, value in arm.to_json().items() if key != "episodes"}
    return {**figures, "num_replans_mean_success": arm.num_replans_mean_success}


def pool_seeds(name: str, arms: Mapping[int, EfficiencyReport]) -> EfficiencyReport:
    """Pools an arm over the seeds. Where each seed chose its own setting, the first seed's is shown; the episodes are each seed's own."""
    first = next(iter(arms.values()))
    return pool_arms(
        name,
        {seed: replace(arm, execute_horizon=first.execute_horizon, playback_rate=first.playback_rate) for seed, arm in arms.items()},
    )
