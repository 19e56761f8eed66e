"""Intervals against published values and the laws that they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policytrim_gym.errors import InvalidStatistic
from policytrim_gym.evaluation.statistics import (
    NonInferiority,
    Ratio,
    non_inferiority,
    normal_quantile,
    paired_difference_interval,
    published_call_ratio,
    ratio_of_means,
    tango_score,
    wilson_interval,
)

TABLES = [(0, 1, 44), (60, 20, 1000), (0, 0, 30), (5, 5, 20), (12, 0, 40), (7, 3, 10), (40, 20, 160)]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # R. G. Newcombe 1998, Stat. Med. 17:857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_reproduces_the_published_table(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("successes", [0, 1, 7, 19, 20])
def test_wilson_mirrors_failures_and_holds_the_estimate(successes: int) -> None:
    low, high = wilson_interval(successes, 20)
    mirrored = wilson_interval(20 - successes, 20)
    assert (low, high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    assert 0.0 <= low <= successes / 20 <= high <= 1.0
    assert low < high


@pytest.mark.parametrize("successes", [3, 15])
def test_wilson_bounds_solve_the_score_equation(successes: int) -> None:
    for bound in wilson_interval(successes, 20):
        assert abs(successes / 20 - bound) / math.sqrt(bound * (1 - bound) / 20) == pytest.approx(normal_quantile(0.95))


def test_tango_reproduces_the_worked_example_of_its_paper() -> None:
    # T. Tango 1998, section 6.1: 43 both, 0 new only, 1 standard only; Z at Delta = 0.1 and the lower 90 % limit
    assert tango_score(0, 1, 44, -0.1) == pytest.approx(1.709, abs=5e-4)
    assert paired_difference_interval(0, 1, 44, confidence=0.90).low == pytest.approx(-0.096, abs=5e-4)


@pytest.mark.parametrize(
    ("only_trimmed", "only_baseline", "pairs", "confidence", "low", "high"),
    [(60, 20, 1000, 0.95, 0.0231, 0.0584), (48, 41, 549, 0.90, -0.0157, 0.0414)],  # R, PropCIs::scoreci.mp
)
def test_tango_agrees_with_an_independent_implementation(
    only_trimmed: int, only_baseline: int, pairs: int, confidence: float, low: float, high: float
) -> None:
    assert paired_difference_interval(only_trimmed, only_baseline, pairs, confidence) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("b", "c", "n"), TABLES)
def test_tango_mirrors_when_the_arms_swap_and_holds_the_estimate(b: int, c: int, n: int) -> None:
    low, high = paired_difference_interval(b, c, n)
    swapped = paired_difference_interval(c, b, n)
    assert (low, high) == pytest.approx((-swapped.high, -swapped.low), abs=1e-12)
    assert -1.0 <= low <= (b - c) / n <= high <= 1.0
    assert low < high


@pytest.mark.parametrize(("b", "c", "n"), TABLES)
def test_tango_bounds_solve_the_score_equation(b: int, c: int, n: int) -> None:
    low, high = paired_difference_interval(b, c, n)
    assert tango_score(b, c, n, low) == pytest.approx(normal_quantile(0.95), abs=1e-6)
    assert tango_score(b, c, n, high) == pytest.approx(-normal_quantile(0.95), abs=1e-6)


@pytest.mark.parametrize("n", [1, 30, 1000])
def test_tango_without_discordant_pairs_has_its_closed_form(n: int) -> None:
    z2 = normal_quantile(0.95) ** 2
    assert paired_difference_interval(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), abs=1e-12)


def test_tango_at_no_difference_is_mcnemar() -> None:
    assert tango_score(25, 16, 200, 0.0) == pytest.approx((25 - 16) / math.sqrt(25 + 16))


def test_tango_covers_the_true_difference() -> None:
    b_rate, c_rate, n = 0.06, 0.03, 150
    draws = np.random.default_rng(0).multinomial(n, [b_rate, c_rate, 1 - b_rate - c_rate], size=1500)
    tables = {tuple(row[:2]): 0 for row in draws.tolist()}
    covers = {table: (lambda i: i.low <= b_rate - c_rate <= i.high)(paired_difference_interval(*table, n)) for table in tables}
    assert np.mean([covers[tuple(row[:2])] for row in draws.tolist()]) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("discordant", "enough", "too_few", "margin"), [(0.04, 250, 60, 0.05), (0.04, 700, 100, 0.03), (0.04, 1600, 200, 0.02)]
)
def test_pairs_needed_for_a_margin(discordant: float, enough: int, too_few: int, margin: float) -> None:
    def even_table(n: int) -> NonInferiority:
        half = round(discordant * n / 2)
        base = [True] * half + [False] * half + [True] * (n - 2 * half)
        trim = [False] * half + [True] * half + [True] * (n - 2 * half)
        return non_inferiority(base, trim, margin)

    assert even_table(enough).passed and even_table(enough).resolves_margin
    assert not even_table(too_few).passed and not even_table(too_few).resolves_margin


def test_smallest_margin_resolved_is_where_the_test_turns() -> None:
    base, trim = [True] * 90 + [False] * 10, [True] * 85 + [False] * 15
    smallest = non_inferiority(base, trim).smallest_margin_resolved
    assert not non_inferiority(base, trim, smallest - 1e-6).passed
    assert non_inferiority(base, trim, smallest + 1e-6).passed


def test_non_inferiority_counts_pairs_and_survives_json() -> None:
    result = non_inferiority([True, True, False, False], [True, False, True, True], margin=0.03)
    assert (result.difference, result.num_pairs, result.num_discordant) == (0.25, 4, 3)
    assert set(result.to_json()) == {"margin", "difference", "ci95", "num_pairs", "num_discordant", "smallest_margin_resolved", "passed"}
    assert NonInferiority.from_json(result.to_json()) == result


def test_ratio_of_an_arm_with_itself_is_one_without_width() -> None:
    costs = np.arange(1.0, 30.0)
    assert ratio_of_means(costs, costs) == Ratio(1.0, (1.0, 1.0))  # type: ignore[arg-type]


def test_ratio_inverts_when_the_arms_swap_and_ignores_units() -> None:
    rng = np.random.default_rng(1)
    base, trim = rng.uniform(50, 100, 80), rng.uniform(20, 60, 80)
    ratio, swapped, scaled = ratio_of_means(base, trim), ratio_of_means(trim, base), ratio_of_means(base * 7, trim * 7)
    assert ratio.value is not None and swapped.value is not None and ratio.ci95 is not None and swapped.ci95 is not None
    assert ratio.value == pytest.approx(1 / swapped.value) == pytest.approx(scaled.value)
    assert ratio.ci95 == pytest.approx((1 / swapped.ci95.high, 1 / swapped.ci95.low), rel=1e-3)
    assert ratio.ci95.low < ratio.value < ratio.ci95.high


def test_pairing_narrows_the_ratio_of_correlated_costs() -> None:
    rng = np.random.default_rng(2)
    base = rng.uniform(20, 200, 100)
    trim = base / 2 * rng.uniform(0.95, 1.05, 100)
    paired, shuffled = ratio_of_means(base, trim), ratio_of_means(base, rng.permutation(trim))
    assert paired.ci95 is not None and shuffled.ci95 is not None
    assert paired.ci95.high - paired.ci95.low < 0.3 * (shuffled.ci95.high - shuffled.ci95.low)


def test_clusters_of_one_equal_no_clusters_and_copies_do_not_narrow() -> None:
    rng = np.random.default_rng(3)
    base, trim = rng.uniform(50, 100, 40), rng.uniform(20, 60, 40)
    single = ratio_of_means(base, trim)
    assert ratio_of_means(base, trim, list(range(40))) == single
    tripled = ratio_of_means(np.tile(base, 3), np.tile(trim, 3), list(range(40)) * 3)
    assert single.ci95 is not None and tripled.ci95 == pytest.approx(single.ci95)


def test_ratio_of_nothing_is_none() -> None:
    assert ratio_of_means([], []) == Ratio(None, None)
    assert ratio_of_means([0.0, 0.0], [1.0, 1.0]) == Ratio(None, None)
    assert Ratio.from_json(Ratio(None, None).to_json()) == Ratio(None, None)


@pytest.mark.parametrize(
    ("base", "steps", "ratio"),
    # the published table of method.md, section 6
    [((108.3, 5), (59.8, 15), 5.43), ((111.2, 8), (62.1, 8), 1.79), ((84.0, 5), (84.0, 5), 1.0), ((66.3, 5), (52.6, 10), 2.52)],
)
def test_published_call_ratio(base: tuple[float, int], steps: tuple[float, int], ratio: float) -> None:
    assert published_call_ratio(*base, *steps) == pytest.approx(ratio, abs=5e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(0, 0),
        lambda: wilson_interval(1, 2, confidence=1.0),
        lambda: paired_difference_interval(3, 3, 5),
        lambda: paired_difference_interval(-1, 0, 5),
        lambda: non_inferiority([True], [True, False]),
        lambda: non_inferiority([], []),
        lambda: non_inferiority([True], [True], margin=3.0),
        lambda: ratio_of_means([1.0], [1.0, 2.0]),
        lambda: ratio_of_means([1.0], [math.nan]),
        lambda: published_call_ratio(0.0, 5, 10.0, 5),
    ],
)
def test_impossible_samples_are_refused(call) -> None:
    with pytest.raises(InvalidStatistic, match="got|must be"):
        call()
