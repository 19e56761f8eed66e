"""The verdict in words: did the trim beat the stock setting, and the best setting that needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.comparison import Comparison
from policytrim_gym.evaluation.statistics import Interval, NonInferiority, Ratio

_NO_MORE = 0.995  # a ratio that rounds to 1.00x counts as "no more of it"
COSTS = ("replans", "steps", "wall_clock", "either")
OPPONENTS = ("stock", "best_untrained")


@dataclass(frozen=True)
class Target:
    """A figure that was set before the measurement.

    Args:
        against: "stock" or "best_untrained".
        cost: "replans", "steps", "wall_clock", or "either" (calls or steps, and no more of the other).
        factor: the baseline's mean over the trimmed policy's has to be at least this.

    >>> Target("stock", "replans", 6.0).factor
    6.0
    """

    against: str
    cost: str
    factor: float

    def __post_init__(self) -> None:
        if self.against not in OPPONENTS or self.cost not in COSTS:
            raise InvalidSpec(f"a target is against one of {OPPONENTS} in one of {COSTS}, got {self.against!r} in {self.cost!r}")

    def judge(self, comparison: Comparison) -> dict[str, Any]:
        """Returns the target with what was measured and whether it was reached; success is judged apart."""
        ratios = comparison.ratios
        calls, steps = ratios.replans.value or 0.0, ratios.steps.value or 0.0
        measured = max(calls, steps) if self.cost == "either" else getattr(ratios, self.cost).value or 0.0
        reached = measured >= self.factor and (self.cost != "either" or min(calls, steps) >= _NO_MORE)
        return {**asdict(self), "measured": measured, "reached": reached}


@dataclass(frozen=True)
class Verdict:
    """What a report says first.

    Args:
        headline: one sentence; a defeat by the best untrained setting comes before everything else.
        sentences: the figures behind it, one sentence for each comparison.
        beats_stock, beats_best_untrained: "yes", "no", or "unresolved" when it saves but the sample is too small to say that success
            was kept; None where there was no such comparison.
        smoke_check: whether the sample cannot resolve the margin of success.
        targets: judged targets.
    """

    headline: str
    sentences: tuple[str, ...]
    beats_stock: str
    beats_best_untrained: str | None
    smoke_check: bool
    targets: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return {**asdict(self), "sentences": list(self.sentences), "targets": list(self.targets)}


def outcome_of(comparison: Comparison) -> str:
    """Returns "yes", "unresolved" or "no": whether the trimmed arm beats the baseline arm.

    It saves when the interval of calls or of steps lies above 1 and there is no more of the other. It keeps success when the
    non-inferiority test passes; it loses it when the estimate is below the margin or the whole interval below 0.
    """
    success = comparison.success
    if not _saves(comparison) or success.success_is_lower or success.difference < -success.margin:
        return "no"
    return "yes" if success.passed else "unresolved"


def give_verdict(stock: Comparison, best_untrained: Comparison | None, targets: Sequence[Target] = ()) -> Verdict:
    """Puts the comparisons with stock and with the best untrained setting into words."""
    against_stock = outcome_of(stock)
    against_untrained = None if best_untrained is None else outcome_of(best_untrained)
    smoke_check = not stock.success.resolves_margin
    sentences = [] if best_untrained is None else [_describe(best_untrained, "the best untrained setting")]
    sentences.append(_describe(stock, "the stock setting"))
    if smoke_check:
        sentences.append(_smoke_check(stock.success))
    by_name = {"stock": stock, "best_untrained": best_untrained}
    judged = [target.judge(comparison) for target in targets if (comparison := by_name[target.against]) is not None]
    return Verdict(
        headline=_headline(against_stock, against_untrained, best_untrained),
        sentences=tuple(sentences),
        beats_stock=against_stock,
        beats_best_untrained=against_untrained,
        smoke_check=smoke_check,
        targets=tuple(judged),
    )


def factor_words(ratio: Ratio | float | None, noun: str, fewer: str = "fewer", more: str = "more") -> str:
    """Says a ratio baseline / trimmed as a saving or as a loss.

    >>> factor_words(2.0, "calls"), factor_words(0.5, "steps"), factor_words(None, "steps")
    ('2.00x fewer calls', '2.00x more steps', 'steps not measured')
    """
    value = ratio.value if isinstance(ratio, Ratio) else ratio
    if value is None or value <= 0:
        return f"{noun} not measured"
    return f"{value:.2f}x {fewer} {noun}" if value >= _NO_MORE else f"{1 / value:.2f}x {more} {noun}"


def points(fraction: float, sign: bool = False) -> str:
    """Says a fraction in percentage points.

    >>> points(0.031), points(-0.0004, sign=True)
    ('3.1', '0.0')
    """
    rounded = round(100 * fraction, 1) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:+.1f}" if sign and rounded else f"{rounded:.1f}"


def _saves(comparison: Comparison) -> bool:
    calls, steps = comparison.ratios.replans, comparison.ratios.steps
    if calls.value is None or steps.value is None or calls.ci95 is None or steps.ci95 is None:
        return False
    return (calls.ci95.low > 1 and steps.value >= _NO_MORE) or (steps.ci95.low > 1 and calls.value >= _NO_MORE)


def _loss(comparison: Comparison) -> str:
    """Says why a comparison was lost."""
    success = comparison.success
    if success.success_is_lower or success.difference < -success.margin:
        return f"success is {points(-success.difference)} points lower"
    calls, steps = comparison.ratios.replans.value, comparison.ratios.steps.value
    if calls is None or steps is None:
        return "no state was solved by both"
    needs_more = [factor_words(value, noun) for value, noun in ((calls, "calls"), (steps, "steps")) if value < _NO_MORE]
    return f"it needs {' and '.join(needs_more)}" if needs_more else "neither calls nor steps are measurably fewer"


def _headline(against_stock: str, against_untrained: str | None, best_untrained: Comparison | None) -> str:
    too_small = "this sample is too small to say that success was kept"
    stock_words = {
        "yes": "beats the stock setting",
        "unresolved": "needs fewer calls or steps than the stock setting",
        "no": "does not beat the stock setting",
    }[against_stock]
    if best_untrained is None or against_untrained is None:
        tail = f"; {too_small}" if against_stock == "unresolved" else ""
        return f"The trimmed policy {stock_words}{tail}. No untrained setting was compared."
    if against_untrained == "no":
        reason = _loss(best_untrained)
        link = "but" if against_stock == "yes" else "and"
        return f'The trim does not beat the best untrained setting, "{best_untrained.baseline}": {reason}; {link} it {stock_words}.'
    if against_stock == "no":
        return f"The trimmed policy {stock_words}."
    if "unresolved" in (against_stock, against_untrained):
        return f"The trimmed policy saves against the stock setting and against the best untrained one; {too_small}."
    return f'The trimmed policy beats the stock setting and the best untrained one, "{best_untrained.baseline}".'


def _describe(comparison: Comparison, opponent: str) -> str:
    ratios, success = comparison.ratios, comparison.success
    parts = [
        factor_words(ratios.replans, "calls") + _bracket(ratios.replans),
        factor_words(ratios.steps, "steps") + _bracket(ratios.steps),
        factor_words(ratios.wall_clock, "wall-clock", "less", "more") + _bracket(ratios.wall_clock),
    ]
    if success.passed:
        kept = f"not inferior at a margin of {points(success.margin)} points"
    elif success.success_is_lower or success.difference < -success.margin:
        kept = f"below the margin of {points(success.margin)} points"
    else:
        kept = f"a margin of {points(success.margin)} points is not shown"
    return (
        f'Against {opponent} ("{comparison.baseline}"): {", ".join(parts)}. Success differs by {points(success.difference, sign=True)} '
        f"points (95 % interval {points(success.ci95.low, sign=True)} to {points(success.ci95.high, sign=True)}, "
        f"{success.num_pairs} pairs, {success.num_discordant} discordant): {kept}."
    )


def directed_interval(ratio: Ratio) -> Interval | None:
    """Returns the interval of a ratio in the direction of `factor_words`: inverted where the ratio is a loss; None where it has none."""
    if ratio.value is None or ratio.ci95 is None or ratio.ci95.low <= 0:
        return None
    return ratio.ci95 if ratio.value >= _NO_MORE else Interval(1 / ratio.ci95.high, 1 / ratio.ci95.low)


def _bracket(ratio: Ratio) -> str:
    interval = directed_interval(ratio)
    return "" if interval is None else f" [{interval.low:.2f}, {interval.high:.2f}]"


def _smoke_check(success: NonInferiority) -> str:
    resolved, excluded = points(success.difference - success.ci95.low), points(success.smallest_margin_resolved)
    tail = "" if resolved == excluded else f"; with the difference seen they exclude a loss of {excluded} points or more"
    return (
        f"This is a smoke check: {success.num_pairs} pairs resolve a margin of about {resolved} points, "
        f"not of {points(success.margin)}{tail}."
    )
