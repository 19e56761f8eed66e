"""Intervals for success rates, their paired differences and ratios of means.

Only the standard library and numpy: the evaluation of a robot's own rollouts needs no scientific stack.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidStatistic

_BISECTIONS = 60  # halves an interval of length 2 to below the spacing of float64


class Interval(NamedTuple):
    """Bounds of a confidence interval."""

    low: float
    high: float


def normal_quantile(confidence: float) -> float:
    """Returns z such that a standard normal lies in [-z, z] with probability `confidence`.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    if not 0.0 < confidence < 1.0:
        raise InvalidStatistic(f"confidence must be between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def wilson_interval(successes: int, num_trials: int, confidence: float = 0.95) -> Interval:
    """Returns Wilson's score interval of a success rate.

    The rates p with (successes/n - p)^2 <= z^2 p (1 - p) / n (E. B. Wilson 1927, JASA 22:209). Unlike the textbook p +- z*sd it stays
    inside [0, 1] and keeps a width at 0 % and 100 %.

    Raises:
        InvalidStatistic: no trial, or successes outside 0..num_trials.

    >>> [round(bound, 4) for bound in wilson_interval(81, 263)]
    [0.2553, 0.3662]
    """
    if num_trials < 1 or not 0 <= successes <= num_trials:
        raise InvalidStatistic(f"successes must be in 0..num_trials with at least one trial, got {successes} of {num_trials}")
    z2 = normal_quantile(confidence) ** 2
    rate = successes / num_trials
    centre = rate + z2 / (2 * num_trials)
    half = sqrt(z2 * (rate * (1 - rate) / num_trials + z2 / (4 * num_trials**2)))
    scale = 1 + z2 / num_trials
    low = 0.0 if successes == 0 else (centre - half) / scale  # exact at the ends, where rounding leaves 1e-17
    high = 1.0 if successes == num_trials else (centre + half) / scale
    return Interval(low, high)


def tango_score(only_trimmed: int, only_baseline: int, num_pairs: int, difference: float) -> float:
    """Returns Tango's score statistic Z of the hypothesis p_trimmed - p_baseline = difference.

    With b = only_trimmed, c = only_baseline, d = difference and q the maximum-likelihood probability of "only the baseline succeeds"
    under the hypothesis, the root of 2n q^2 + (-(b + c) + (2n - b + c) d) q - c d (1 - d) = 0:

        Z = (b - c - n d) / sqrt(n (2 q + d (1 - d)))        (T. Tango 1998, Stat. Med. 17:891, equations 24 to 26, with d = -Delta)

    At d = 0 this is McNemar's (b - c) / sqrt(b + c). Z falls as d rises.

    >>> round(tango_score(0, 1, 44, -0.1), 3)
    1.709
    """
    linear = -(only_trimmed + only_baseline) + (2 * num_pairs - only_trimmed + only_baseline) * difference
    constant = -only_baseline * difference * (1 - difference)
    root = (sqrt(max(0.0, linear**2 - 8 * num_pairs * constant)) - linear) / (4 * num_pairs)
    variance = num_pairs * (2 * root + difference * (1 - difference))
    distance = only_trimmed - only_baseline - num_pairs * difference
    if variance <= 0.0:  # the hypothesis allows no such sample, unless it is the estimate itself
        return 0.0 if distance == 0 else float(np.copysign(np.inf, distance))
    return distance / sqrt(variance)


def paired_difference_interval(only_trimmed: int, only_baseline: int, num_pairs: int, confidence: float = 0.95) -> Interval:
    """Returns Tango's score interval of p_trimmed - p_baseline for paired successes.

    All differences d with |tango_score(d)| <= z, found by bisection. Without discordant pairs it is +- z^2 / (n + z^2), where a paired
    bootstrap would collapse to [0, 0].

    Args:
        only_trimmed: pairs in which only the trimmed policy succeeded.
        only_baseline: pairs in which only the baseline succeeded.
        num_pairs: all pairs, also those with equal outcomes.

    Raises:
        InvalidStatistic: counts that are no paired table.

    >>> [round(100 * bound, 2) for bound in paired_difference_interval(60, 20, 1000)]
    [2.31, 5.84]
    >>> [round(100 * bound, 2) for bound in paired_difference_interval(0, 0, 100)]
    [-3.7, 3.7]
    """
    if num_pairs < 1 or min(only_trimmed, only_baseline) < 0 or only_trimmed + only_baseline > num_pairs:
        raise InvalidStatistic(
            "discordant pairs must be counts within num_pairs of at least 1, "
            f"got only_trimmed={only_trimmed}, only_baseline={only_baseline}, num_pairs={num_pairs}"
        )
    z = normal_quantile(confidence)
    high = _upper_difference(only_trimmed, only_baseline, num_pairs, z)
    low = -_upper_difference(only_baseline, only_trimmed, num_pairs, z)  # swapping the arms mirrors the interval
    return Interval(low, high)


def _upper_difference(only_trimmed: int, only_baseline: int, num_pairs: int, z: float) -> float:
    """Returns the largest difference that the score test does not reject."""
    inside, outside = (only_trimmed - only_baseline) / num_pairs, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (inside + outside)
        if tango_score(only_trimmed, only_baseline, num_pairs, middle) >= -z:
            inside = middle
        else:
            outside = middle
    return inside


@dataclass(frozen=True)
class NonInferiority:
    """Whether the trimmed policy's success is not lower than the baseline's by `margin` or more.

    Args:
        margin: largest loss of success that would be accepted, as a fraction.
        difference: trimmed success rate minus baseline success rate.
        ci95: Tango's two-sided 95 % interval of the difference.
        num_pairs: paired rollouts.
        num_discordant: pairs with unequal outcomes.
        smallest_margin_resolved: the smallest margin for which this sample would pass, max(0, -ci95.low).
        passed: ci95.low > -margin.

    >>> non_inferiority([True] * 100, [True] * 100, margin=0.05).passed
    True
    """

    margin: float
    difference: float
    ci95: Interval
    num_pairs: int
    num_discordant: int
    smallest_margin_resolved: float
    passed: bool

    @property
    def resolves_margin(self) -> bool:
        """Whether the sample is large enough that an arm of equal success would pass: the interval reaches at most `margin` below."""
        return self.difference - self.ci95.low < self.margin

    @property
    def success_is_lower(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.ci95.high < 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return {**asdict(self), "ci95": list(self.ci95)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NonInferiority:
        """Takes back what `to_json` gave."""
        return cls(**{**values, "ci95": Interval(*values["ci95"])})


def non_inferiority(baseline_success: Sequence[bool], trimmed_success: Sequence[bool], margin: float = 0.03) -> NonInferiority:
    """Tests success for non-inferiority on paired rollouts.

    The pairs are taken as independent. Pooled over training seeds that is true of the policy's luck, not of a state that is hard for
    every seed; such states come out equal in both arms and add no discordant pair, so the interval stays honest.

    Args:
        baseline_success, trimmed_success: outcomes on the same states in the same order, (num_pairs,).
        margin: above 0, at most 1.

    Raises:
        InvalidStatistic: unequal or empty samples, or a margin out of range.
    """
    if not 0.0 < margin <= 1.0:
        raise InvalidStatistic(f"margin must be above 0 and at most 1 (0.03 is three points), got {margin}")
    baseline, trimmed = np.asarray(baseline_success, dtype=bool), np.asarray(trimmed_success, dtype=bool)
    if baseline.shape != trimmed.shape or baseline.ndim != 1 or not len(baseline):
        raise InvalidStatistic(f"paired outcomes must be two lists of the same length, got shapes {baseline.shape} and {trimmed.shape}")
    only_trimmed, only_baseline = int((trimmed & ~baseline).sum()), int((baseline & ~trimmed).sum())
    interval = paired_difference_interval(only_trimmed, only_baseline, len(baseline))
    return NonInferiority(
        margin=float(margin),
        difference=(only_trimmed - only_baseline) / len(baseline),
        ci95=interval,
        num_pairs=len(baseline),
        num_discordant=only_trimmed + only_baseline,
        smallest_margin_resolved=max(0.0, -interval.low),
        passed=interval.low > -margin,
    )


@dataclass(frozen=True)
class Ratio:
    """Mean of the baseline over mean of the trimmed policy; above 1 the trimmed policy needs less.

    Args:
        value: the ratio, or None where there is nothing to compare (no common success, nothing measured).
        ci95: bounds of the paired bootstrap, or None with it.

    >>> ratio_of_means([20.0, 40.0], [10.0, 20.0]).value
    2.0
    """

    value: float | None
    ci95: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return {"value": self.value, "ci95": None if self.ci95 is None else list(self.ci95)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Ratio:
        """Takes back what `to_json` gave."""
        return cls(values["value"], None if values["ci95"] is None else Interval(*values["ci95"]))


def ratio_of_means(
    baseline: ArrayLike,
    trimmed: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Ratio:
    """Returns mean(baseline) / mean(trimmed) with a paired percentile bootstrap.

    A resample draws whole pairs, so that what makes a state long for both policies does not widen the interval. With `clusters` it
    draws whole clusters of pairs: pairs of one test state under several training seeds share their difficulty.

    Args:
        baseline, trimmed: non-negative costs of the same episodes, (num_pairs,).
        clusters: a label for each pair, (num_pairs,); None makes each pair its own.
        num_resamples: bootstrap resamples.
        seed: of the resampling, so that a report can be built again to the digit.

    Raises:
        InvalidStatistic: unequal lengths, or a cost that is negative or not finite.
    """
    base, trim = np.asarray(baseline, dtype=float), np.asarray(trimmed, dtype=float)
    if base.shape != trim.shape or base.ndim != 1 or (clusters is not None and len(clusters) != len(base)):
        raise InvalidStatistic(f"paired costs and clusters must have the same length, got shapes {base.shape} and {trim.shape}")
    if not (np.isfinite(base).all() and np.isfinite(trim).all() and (base >= 0).all() and (trim >= 0).all()):
        raise InvalidStatistic("costs must be finite and not negative")
    if not len(base) or base.sum() <= 0 or trim.sum() <= 0:
        return Ratio(None, None)
    sums = _cluster_sums(np.stack([base, trim], axis=1), clusters)
    num_clusters = len(sums)
    weights = np.random.default_rng(seed).multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=num_resamples)
    resampled = weights @ sums  # (num_resamples, 2)
    ratios = resampled[:, 0] / np.maximum(resampled[:, 1], np.finfo(float).tiny)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Ratio(float(base.sum() / trim.sum()), Interval(float(low), float(high)))


def _cluster_sums(values: NDArray[np.float64], clusters: Sequence[Hashable] | None) -> NDArray[np.float64]:
    """Returns the sum of the rows of each cluster, (num_clusters, columns)."""
    if clusters is None:
        return values
    index: dict[Hashable, int] = {}
    rows = np.array([index.setdefault(label, len(index)) for label in clusters])
    sums = np.zeros((len(index), values.shape[1]))
    np.add.at(sums, rows, values)
    return sums


def published_call_ratio(base_steps: float, base_horizon: int, steps: float, horizon: int) -> float:
    """Returns (S0 / h0) / (S1 / h1), the published "speedup": a ratio of un-rounded inference calls, not of time.

    >>> round(published_call_ratio(125.0, 5, 64.3, 15), 2)
    5.83
    """
    if min(base_steps, base_horizon, steps, horizon) <= 0:
        raise InvalidStatistic(f"steps and horizons must be above 0, got {base_steps}/{base_horizon} and {steps}/{horizon}")
    return (base_steps / base_horizon) / (steps / horizon)
