"""Arms: what they count, how they pair, how they compare."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from synthetic_arms import TIME_LIMIT, record, synthetic_arm

from policytrim_gym.errors import CorruptReport, InvalidHorizon, InvalidSpec, LimitsBroken, MismatchedRollouts
from policytrim_gym.evaluation.comparison import EfficiencyRatios, compare_arms, pair_episodes
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport, pool_arms
from policytrim_gym.evaluation.lower_bounds import check_motion, lower_bounds, minimum_calls
from policytrim_gym.evaluation.pareto import OBJECTIVES, best_untrained_pair, objective_cost, pareto_front
from policytrim_gym.metrics import RolloutRecord

ARM_KEYS = (
    "name execute_horizon chunk_size playback_rate inference_delay_steps success_rate success_rate_ci95 steps_mean_success "
    "steps_restricted_mean num_replans_mean chunk_utilization wall_clock_s_mean inference_s_mean episodes"
)


def make(records: list, horizon: int = 8, **options) -> EfficiencyReport:
    return EfficiencyReport.from_rollouts("arm", records, execute_horizon=horizon, chunk_size=32, **options)


def test_arm_has_the_public_keys_and_survives_json() -> None:
    arm = synthetic_arm("stock")
    values = json.loads(json.dumps(arm.to_json(), allow_nan=False))
    assert list(values) == ARM_KEYS.split()
    assert EfficiencyReport.from_json(values) == arm


def test_failures_count_the_time_limit_only_in_the_restricted_mean() -> None:
    arm = make([record(True, 40, 8, 32, state=0), record(False, TIME_LIMIT, 8, 32, state=1)])
    assert arm.steps_mean_success == 40.0
    assert arm.steps_restricted_mean == (40 + TIME_LIMIT) / 2
    assert arm.num_replans_mean_success == 5.0
    assert arm.num_replans_mean == (5 + 38) / 2


def test_utilization_is_steps_over_predicted_actions() -> None:
    arm = synthetic_arm("stock", horizon=24)
    predicted = sum(episode.num_replans for episode in arm.episodes) * 32
    assert arm.chunk_utilization == pytest.approx(sum(episode.steps for episode in arm.episodes) / predicted)


def test_an_arm_without_success_has_no_numbers_that_are_not_numbers() -> None:
    arm = make([record(False, TIME_LIMIT, 8, 32)])
    assert (arm.steps_mean_success, arm.num_replans_mean_success, arm.modelled_wall_clock_s(0.1, 0.1)) == (None, None, None)
    json.dumps(arm.to_json(), allow_nan=False)


def test_inference_time_is_none_unless_every_record_has_it() -> None:
    measured = record(True, 40, 8, 32, state=0)
    assert make([measured]).inference_s_mean == measured.inference_s
    assert make([measured, replace(measured, inference_s=None, initial_state=1)]).inference_s_mean is None


def test_modelled_wall_clock_reproduces_the_published_example() -> None:
    # method.md: pi0.5 LIBERO-Object, 125.0 steps at h=5 to 64.3 at h=15, t_infer = t_step = 50 ms: 2.2x
    base = make([record(True, 125, 5, 15)], horizon=5).modelled_wall_clock_s(0.05, 0.05)
    assert base == pytest.approx(25 * 0.05 + 125 * 0.05)
    arm = make([record(True, 64, 15, 15)], horizon=15)
    assert base / arm.modelled_wall_clock_s(0.05, 0.05) == pytest.approx(2.2, abs=0.05)
    assert arm.modelled_wall_clock_s(0.05, 0.05, asynchronous=True) == pytest.approx(64 * 0.05)
    assert arm.modelled_wall_clock_s(0.0, 0.05) == arm.modelled_wall_clock_s(9.0, 0.05, asynchronous=True)


def test_tasks_add_up_to_the_arm() -> None:
    arm = synthetic_arm("stock", success_rate=0.8)
    parts = arm.by_task()
    assert sum(len(part.episodes) for part in parts.values()) == len(arm.episodes)
    weighted = sum(part.steps_restricted_mean * len(part.episodes) for part in parts.values()) / len(arm.episodes)
    assert weighted == pytest.approx(arm.steps_restricted_mean)


def test_pairing_ignores_the_order_of_episodes() -> None:
    base, trim = synthetic_arm("stock", success_rate=0.8), synthetic_arm("trimmed", horizon=32, pace=0.7, success_rate=0.85)
    shuffled = make(list(trim.episodes[::-1]), horizon=32)
    assert compare_arms(base, trim).ratios.steps == compare_arms(base, shuffled).ratios.steps
    assert compare_arms(base, trim).success == compare_arms(base, shuffled).success
    assert all(a.initial_state == b.initial_state and a.task == b.task for _, a, b in pair_episodes(base, shuffled))


def test_episodes_without_a_state_pair_by_position() -> None:
    records = [record(True, steps, 8, 32, task=None, state=None) for steps in (40, 80)]
    assert [(a.steps, b.steps) for _, a, b in pair_episodes(make(records), make(records))] == [(40, 40), (80, 80)]


def test_arms_of_different_states_are_refused() -> None:
    with pytest.raises(MismatchedRollouts, match="1 do not pair, first .*reach-v3.*1"):
        compare_arms(make([record(True, 40, 8, 32)]), make([record(True, 40, 8, 32), record(True, 40, 8, 32, state=1)]))
    with pytest.raises(MismatchedRollouts, match="two episodes of seed None, task reach-v3, initial state 0"):
        make([record(True, 40, 8, 32)] * 2).episode_keys()


def test_seeds_pool_as_separate_pairs_and_survive_json() -> None:
    base = pool_arms("stock", {seed: synthetic_arm("stock", seed=seed, success_rate=0.9) for seed in range(3)})
    trim = pool_arms("trimmed", {seed: synthetic_arm("trimmed", horizon=32, pace=0.7, seed=seed) for seed in (2, 1, 0)})
    comparison = compare_arms(base, trim)
    assert comparison.success.num_pairs == 180
    assert EfficiencyReport.from_json(json.loads(json.dumps(base.to_json()))) == base
    by_state = compare_arms(base, trim, cluster_by="state")
    assert by_state.ratios.steps.value == comparison.ratios.steps.value
    assert by_state.ratios.steps.ci95 != comparison.ratios.steps.ci95
    with pytest.raises(InvalidSpec, match="must share"):
        pool_arms("mixed", {0: synthetic_arm("a", horizon=8), 1: synthetic_arm("b", horizon=16)})


def test_an_arm_against_itself_saves_nothing_and_loses_nothing() -> None:
    arm = synthetic_arm("stock", success_rate=0.8)
    comparison = compare_arms(arm, arm)
    ratios = comparison.ratios
    assert (ratios.replans.value, ratios.steps.value, ratios.wall_clock.value, ratios.published_definition) == (1, 1, 1, 1)
    assert comparison.success.difference == 0 and comparison.success.num_discordant == 0
    assert EfficiencyRatios.from_json(json.loads(json.dumps(ratios.to_json()))) == ratios


def test_ratios_stand_on_common_successes_only() -> None:
    base = make([record(True, 80, 8, 32, state=0), record(True, 240, 8, 32, state=1)])
    trim = make([record(True, 40, 8, 32, state=0), record(False, TIME_LIMIT, 8, 32, state=1)])
    ratios = compare_arms(base, trim).ratios
    assert (ratios.steps.value, ratios.replans.value, ratios.num_common_successes) == (2.0, 2.0, 1)
    none = compare_arms(base, make([record(False, TIME_LIMIT, 8, 32, state=k) for k in (0, 1)])).ratios
    assert (none.steps.value, none.published_definition) == (None, None)


def test_calls_bound_is_reached_by_whole_chunks() -> None:
    assert [minimum_calls(steps, 32) for steps in (1, 32, 33, 64)] == [1, 1, 2, 2]
    assert lower_bounds(synthetic_arm("whole", horizon=32)).calls_headroom == 1.0
    assert lower_bounds(synthetic_arm("stock", horizon=8)).calls_headroom > 3.0


def test_steps_headroom_of_a_policy_twice_as_slow() -> None:
    base = make([record(True, 80, 8, 32, task="a"), record(True, 200, 8, 32, task="b")])
    fast = make([record(True, 40, 1, 32, task="a"), record(True, 100, 1, 32, task="b"), record(True, 9, 1, 32, task="other")], horizon=1)
    bounds = lower_bounds(base, fast)
    assert bounds.steps_headroom == 2.0 and set(bounds.steps_reference) == {"a", "b"}
    with pytest.raises(MismatchedRollouts, match="share a task"):
        lower_bounds(base, make([record(True, 9, 1, 32, task="other")]))


def moved(shortest_s: float | None, success: bool = True, state: int = 0) -> RolloutRecord:
    return replace(record(success, 20, 8, 32, state=state), motion_s=1.0, shortest_s=shortest_s)


def test_motion_headroom_is_the_mean_over_the_successes_that_moved() -> None:
    bounds = lower_bounds(make([moved(0.5), moved(0.8, state=1), moved(0.99, success=False, state=2), moved(0.0, state=3)]))
    assert bounds.motion_headroom == (2.0 + 1.25) / 2
    assert (bounds.motion_s, bounds.shortest_s) == (1.0, 0.65)
    assert lower_bounds(make([moved(None)])).motion_headroom is None


@pytest.mark.parametrize("success", [True, False])
def test_motion_beyond_the_limits_is_refused(success: bool) -> None:
    assert lower_bounds(make([moved(1.015)])).motion_headroom == pytest.approx(1 / 1.015)
    broken = make([moved(0.8), moved(1.25, success, state=7)])
    with pytest.raises(LimitsBroken, match=r"initial state 7: the joints took 1.000 s .* at least 1.250 s .* at least 0.98, got 0.800"):
        check_motion(broken)
    with pytest.raises(LimitsBroken):
        lower_bounds(broken)


def test_pareto_front_is_what_nothing_dominates() -> None:
    arms = [synthetic_arm(f"h={h} x{p}", horizon=h, pace=1 / p, success_rate=s) for h, p, s in
            [(4, 1, 0.9), (8, 1, 0.95), (16, 2, 0.85), (32, 1, 0.8), (32, 2, 0.5), (4, 3, 0.7)]]  # fmt: skip
    front = pareto_front(arms)
    costs = {arm.name: [objective_cost(arm, objective) for objective in OBJECTIVES] for arm in arms}

    def dominates(a: EfficiencyReport, b: EfficiencyReport) -> bool:
        return costs[a.name] != costs[b.name] and all(x <= y for x, y in zip(costs[a.name], costs[b.name]))

    assert front and all((arm in front) != any(dominates(other, arm) for other in arms) for arm in arms)
    assert pareto_front(front) == front
    assert {arm.name for arm in pareto_front(arms, ("success", "calls"))} <= {arm.name for arm in front}
    with pytest.raises(InvalidSpec, match="'speed'"):
        pareto_front(arms, ("speed",))


def test_best_untrained_pair_takes_the_largest_saving_that_keeps_success() -> None:
    stock = synthetic_arm("stock", horizon=8)
    fast = synthetic_arm("h=16 x2", horizon=16, pace=0.5, success_rate=1.0, playback_rate=2.0)
    reckless = synthetic_arm("h=32 x3", horizon=32, pace=0.34, success_rate=0.5, playback_rate=3.0)
    slow = synthetic_arm("h=4", horizon=4)
    selection = best_untrained_pair([slow, fast, reckless, stock], stock)
    assert (selection.name, selection.execute_horizon, selection.playback_rate) == ("h=16 x2", 16, 2.0)
    assert {candidate.name: candidate.eligible for candidate in selection.candidates}["h=32 x3"] is False
    assert best_untrained_pair([slow, reckless], stock).name == "stock"
    assert best_untrained_pair([fast, reckless], stock, tolerance=1.0).name == "h=32 x3"
    json.dumps(selection.to_json(), allow_nan=False)
    with pytest.raises(InvalidSpec, match="-0.1"):
        best_untrained_pair([fast], stock, tolerance=-0.1)


def test_a_stock_that_never_succeeds_is_not_the_strongest_setting() -> None:
    stock = synthetic_arm("stock", horizon=8, success_rate=0.0)
    some = synthetic_arm("h=16", horizon=16, success_rate=0.5)
    best = synthetic_arm("h=32 x3", horizon=32, pace=0.4, success_rate=1.0, playback_rate=3.0)
    slower = synthetic_arm("h=32", horizon=32, success_rate=1.0)
    assert best_untrained_pair([stock, some, slower, best], stock).name == "h=32 x3"
    hopeless = synthetic_arm("h=4", horizon=4, success_rate=0.0)
    assert best_untrained_pair([hopeless, stock], stock).name == "stock"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"horizon": 33}, InvalidHorizon, "33"),
        ({"inference_delay_steps": 32}, InvalidHorizon, "got 32"),
        ({"playback_rate": 0.0}, InvalidSpec, "got 0.0"),
        ({"training_seeds": [1, 2]}, InvalidSpec, "got 2"),
    ],
)
def test_impossible_settings_are_refused(options: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make([record(True, 40, 8, 32)], **options)
    with pytest.raises(InvalidSpec, match="at least one"):
        make([])


def test_an_arm_with_a_missing_key_is_refused() -> None:
    values = synthetic_arm("stock").to_json()
    del values["episodes"]
    with pytest.raises(CorruptReport, match="episodes"):
        EfficiencyReport.from_json(values)
