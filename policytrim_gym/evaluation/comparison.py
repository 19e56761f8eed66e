"""Two arms on the same initial states: what one saves over the other, and whether success was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policytrim_gym.errors import CorruptReport, InvalidSpec, MismatchedRollouts
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport, EpisodeKey
from policytrim_gym.evaluation.statistics import NonInferiority, Ratio, non_inferiority, published_call_ratio, ratio_of_means
from policytrim_gym.metrics import RolloutRecord

CLUSTERS = ("pair", "state")


@dataclass(frozen=True)
class EfficiencyRatios:
    """How many times more the baseline needed than the trimmed policy, on the successes common to both.

    Args:
        replans, steps, wall_clock: ratios of means, above 1 where the trimmed policy needs less.
        published_definition: (S0 / h0) / (S1 / h1) over each arm's own successes; None without a success.
        num_common_successes: pairs that the three ratios stand on.
    """

    replans: Ratio
    steps: Ratio
    wall_clock: Ratio
    published_definition: float | None
    num_common_successes: int

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return {
            "replans": self.replans.to_json(),
            "steps": self.steps.to_json(),
            "wall_clock": self.wall_clock.to_json(),
            "published_definition": self.published_definition,
            "num_common_successes": self.num_common_successes,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EfficiencyRatios:
        """Takes back what `to_json` gave; raises CorruptReport when a key is missing."""
        try:
            replans, steps, wall_clock = (Ratio.from_json(values[key]) for key in ("replans", "steps", "wall_clock"))
            return cls(replans, steps, wall_clock, values["published_definition"], values["num_common_successes"])
        except (KeyError, TypeError) as error:
            raise CorruptReport(f"ratios must hold replans, steps, wall_clock and published_definition, got {error!r}") from error


@dataclass(frozen=True)
class Comparison:
    """A trimmed arm against a baseline arm.

    >>> def arm(name, steps, horizon):
    ...     calls = -(-steps // horizon)
    ...     records = [RolloutRecord(True, steps, calls, (horizon,) * calls, 0.5, 1.0, task="reach", initial_state=k) for k in range(200)]
    ...     return EfficiencyReport.from_rollouts(name, records, execute_horizon=horizon, chunk_size=32)
    >>> comparison = compare_arms(arm("stock", 96, 8), arm("trimmed", 64, 32))
    >>> comparison.ratios.replans.value, comparison.ratios.steps.value, comparison.success.passed
    (6.0, 1.5, True)
    """

    baseline: str
    trimmed: str
    ratios: EfficiencyRatios
    success: NonInferiority


def pair_episodes(baseline: EfficiencyReport, trimmed: EfficiencyReport) -> list[tuple[EpisodeKey, RolloutRecord, RolloutRecord]]:
    """Returns (key, baseline record, trimmed record) of each initial state, in the baseline's order.

    Raises:
        MismatchedRollouts: one arm has a state that the other lacks.
    """
    base = dict(zip(baseline.episode_keys(), baseline.episodes))
    trim = dict(zip(trimmed.episode_keys(), trimmed.episodes))
    unpaired = sorted(base.keys() ^ trim.keys(), key=str)
    if unpaired:
        owner = baseline.name if unpaired[0] in base else trimmed.name
        raise MismatchedRollouts(
            f'arms "{baseline.name}" and "{trimmed.name}" must cover the same (training seed, task, initial state); '
            f'{len(unpaired)} do not pair, first {unpaired[0]} of "{owner}"'
        )
    return [(key, record, trim[key]) for key, record in base.items()]


def common_success_ratio(baseline: EfficiencyReport, trimmed: EfficiencyReport, cost: str) -> float | None:
    """Returns the mean of a record's field (`num_replans`, `steps`) over common successes, baseline's over trimmed's; None without any."""
    common = [(base, trim) for _, base, trim in pair_episodes(baseline, trimmed) if base.success and trim.success]
    total = sum(getattr(trim, cost) for _, trim in common)
    return sum(getattr(base, cost) for base, _ in common) / total if total else None


def compare_arms(baseline: EfficiencyReport, trimmed: EfficiencyReport, margin: float = 0.03, cluster_by: str = "pair") -> Comparison:
    """Compares two arms that ran on the same initial states.

    Args:
        baseline, trimmed: the arms.
        margin: of the non-inferiority of success.
        cluster_by: what the ratios' bootstrap draws. "pair" draws (training seed, task, initial state) pairs; "state" draws a test state
            with all its training seeds at once, wider when states rather than seeds make the spread. The spread between training seeds
            is not estimated by either: three seeds cannot carry it, so look at the seeds one by one.

    Raises:
        MismatchedRollouts: the arms do not cover the same states.
        InvalidSpec: an unknown cluster.
    """
    if cluster_by not in CLUSTERS:
        raise InvalidSpec(f"cluster_by must be one of {CLUSTERS}, got {cluster_by!r}")
    pairs = pair_episodes(baseline, trimmed)
    common = [(key, base, trim) for key, base, trim in pairs if base.success and trim.success]
    clusters = [key[1:] if cluster_by == "state" else key for key, _, _ in common]

    def ratio(cost: str) -> Ratio:
        return ratio_of_means([getattr(base, cost) for _, base, _ in common], [getattr(trim, cost) for _, _, trim in common], clusters)

    published = None
    if baseline.steps_mean_success and trimmed.steps_mean_success:
        published = published_call_ratio(
            baseline.steps_mean_success, baseline.execute_horizon, trimmed.steps_mean_success, trimmed.execute_horizon
        )
    return Comparison(
        baseline=baseline.name,
        trimmed=trimmed.name,
        ratios=EfficiencyRatios(ratio("num_replans"), ratio("steps"), ratio("wall_clock_s"), published, len(common)),
        success=non_inferiority([base.success for _, base, _ in pairs], [trim.success for _, _, trim in pairs], margin),
    )
