"""Which arms no other arm betters, and which untrained setting a trained one has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.comparison import compare_arms
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport

OBJECTIVES = ("success", "calls", "steps")


def objective_cost(arm: EfficiencyReport, objective: str) -> float:
    """Returns one objective as a cost, lower is better; calls and steps count all episodes, so that giving up early is no gain.

    Raises:
        InvalidSpec: an unknown objective.
    """
    if objective == "success":
        return -arm.success_rate
    if objective == "calls":
        return arm.num_replans_mean
    if objective == "steps":
        return arm.steps_restricted_mean
    raise InvalidSpec(f"objectives must be among {OBJECTIVES}, got {objective!r}")


def pareto_front(arms: Sequence[EfficiencyReport], objectives: Sequence[str] = OBJECTIVES) -> list[EfficiencyReport]:
    """Returns the arms that no other arm betters in one objective without being worse in another, in the given order.

    Equal arms stand or fall together. By point estimates: neighbours on the front may differ by less than their intervals.
    """
    costs = [tuple(objective_cost(arm, objective) for objective in objectives) for arm in arms]

    def is_dominated(cost: tuple[float, ...]) -> bool:
        return any(other != cost and all(o <= c for o, c in zip(other, cost)) for other in costs)

    return [arm for arm, cost in zip(arms, costs) if not is_dominated(cost)]


@dataclass(frozen=True)
class Candidate:
    """One untrained setting as `best_untrained_pair` saw it.

    Args:
        name: of the arm.
        success_difference: its success minus stock's, paired.
        tolerance: loss of success that was allowed.
        calls_ratio, steps_ratio: stock's over its, on common successes; above 1 it needs less. None without a common success.
        saving: sqrt(calls_ratio * steps_ratio).
        eligible: whether success_difference >= -tolerance and there are common successes.
    """

    name: str
    success_difference: float
    tolerance: float
    calls_ratio: float | None
    steps_ratio: float | None
    saving: float | None
    eligible: bool


@dataclass(frozen=True)
class UntrainedSelection:
    """The untrained setting that a trained policy has to beat, and every setting it was chosen from."""

    name: str
    execute_horizon: int
    playback_rate: float
    candidates: tuple[Candidate, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return {**asdict(self), "candidates": [asdict(candidate) for candidate in self.candidates]}


def best_untrained_pair(arms: Sequence[EfficiencyReport], stock: EfficiencyReport, tolerance: float | None = None) -> UntrainedSelection:
    """Picks the strongest untrained (execute_horizon, playback_rate) pair on validation states.

    Among the arms whose success is not below stock's by more than the tolerance, the one with the largest geometric mean of its calls
    ratio and steps ratio to stock. Calls and steps both cost, on machines of which we do not know which dominates; the geometric mean
    needs no unit and asks the same relative gain of both. Stock itself is always eligible, so that there is always an answer. Where stock
    never succeeds there is nothing to save: the arm that succeeds most is picked, of equals the one with the fewest steps of all episodes.

    The default tolerance, one standard error of the paired difference, sqrt(discordant - (b - c)^2 / n) / n, keeps a fast setting from
    being thrown out by a single unlucky episode: an opponent chosen too strictly would be an opponent chosen too weak.

    Args:
        arms: untrained arms without inference delay; stock may be among them.
        stock: the untrained policy at its stock horizon and rate 1.
        tolerance: largest loss of success accepted, as a fraction; None for one standard error.

    Raises:
        MismatchedRollouts: an arm does not cover stock's states.
        InvalidSpec: a negative tolerance.

    >>> from policytrim_gym.metrics import RolloutRecord
    >>> def arm(name, steps, horizon, rate):
    ...     calls = -(-steps // horizon)
    ...     records = [RolloutRecord(True, steps, calls, (horizon,) * calls, 0.5, 1.0, initial_state=k) for k in range(20)]
    ...     return EfficiencyReport.from_rollouts(name, records, execute_horizon=horizon, chunk_size=32, playback_rate=rate)
    >>> best_untrained_pair([arm("h=32", 100, 32, 1.0), arm("h=8 x2", 50, 8, 2.0)], arm("stock", 96, 8, 1.0)).name
    'h=8 x2'
    """
    if tolerance is not None and tolerance < 0:
        raise InvalidSpec(f"tolerance must be at least 0 (0.01 is one point), got {tolerance}")
    others = [arm for arm in arms if arm.name != stock.name]
    candidates = [_judge(arm, stock, tolerance) for arm in (stock, *others)]
    if stock.success_rate == 0.0:
        chosen = max((stock, *others), key=lambda arm: (arm.success_rate, -arm.steps_restricted_mean, arm is stock))
        return UntrainedSelection(chosen.name, chosen.execute_horizon, chosen.playback_rate, tuple(candidates))
    _, chosen = max(
        ((candidate, arm) for candidate, arm in zip(candidates, (stock, *others)) if candidate.eligible),
        key=lambda pair: (pair[0].saving, pair[0].success_difference),
        default=(candidates[0], stock),
    )
    return UntrainedSelection(chosen.name, chosen.execute_horizon, chosen.playback_rate, tuple(candidates))


def _judge(arm: EfficiencyReport, stock: EfficiencyReport, tolerance: float | None) -> Candidate:
    """Returns an arm as a candidate against stock."""
    comparison = compare_arms(stock, arm)
    success = comparison.success
    num_pairs = success.num_pairs
    error = sqrt(max(0.0, success.num_discordant - success.difference**2 * num_pairs)) / num_pairs
    allowed = error if tolerance is None else tolerance
    calls, steps = comparison.ratios.replans.value, comparison.ratios.steps.value
    saving = None if calls is None or steps is None else sqrt(calls * steps)
    eligible = saving is not None and success.difference >= -allowed - 1e-12
    return Candidate(arm.name, success.difference, allowed, calls, steps, saving, eligible)
