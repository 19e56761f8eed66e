"""Laws of the lead: enough for what was measured, robust at the start."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.errors import InvalidConfig
from policytrim_ros.control.latency_estimator import FEW, LatencyEstimator

DT_S = 0.05


def estimator(*latencies_s: float, **settings: float) -> LatencyEstimator:
    made = LatencyEstimator(DT_S, **{"initial_s": 0.2, "margin_s": 0.0, **settings})
    for latency_s in latencies_s:
        made.record(latency_s)
    return made


@pytest.mark.parametrize("num_answers", range(FEW))
def test_a_few_quick_answers_do_not_shorten_the_first_lead(num_answers: int) -> None:
    assert estimator(*[0.01] * num_answers).lead_steps == 4


def test_a_slow_answer_counts_from_the_first_on() -> None:
    assert estimator(0.9).lead_steps == 18


def test_one_slow_answer_at_the_start_is_outlived() -> None:
    assert estimator(0.9, *[0.1] * 100).lead_steps == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95, 1.0])
def test_the_lead_covers_the_quantile_of_the_window(seed: int, quantile: float) -> None:
    latencies_s = np.random.default_rng(seed).lognormal(-2.0, 0.5, 50)
    lead_s = estimator(*latencies_s, quantile=quantile).lead_steps * DT_S
    assert (latencies_s <= lead_s).mean() >= quantile


def test_the_lead_follows_a_server_that_became_slower() -> None:
    assert estimator(*[0.05] * 200, *[0.3] * 50).lead_steps == 6


@pytest.mark.parametrize("steps", range(1, 30))
def test_whole_steps_are_not_rounded_up(steps: int) -> None:
    assert estimator(*[steps * DT_S] * 50).lead_steps == steps


def test_the_margin_is_added() -> None:
    assert estimator(*[0.10] * 50, margin_s=0.03).lead_steps == 3


@pytest.mark.parametrize("latency_s", [-1.0, float("nan"), float("inf")])
def test_what_is_no_duration_is_left_out(latency_s: float) -> None:
    assert estimator(*[0.1] * 50, latency_s).lead_steps == 2


@pytest.mark.parametrize("setting", [{"quantile": 0.0}, {"quantile": 1.1}, {"margin_s": -0.1}, {"initial_s": float("nan")}, {"window": 0}])
def test_a_setting_out_of_range_is_named(setting: dict[str, float]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(setting))):
        estimator(**setting)
