"""Laws of the selectors that go by a rule, and of the table of tasks."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_arms import TASK_STEPS, synthetic_arm
from test_evaluate import make_pendulum, pendulum_policy, timeless

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidSpec, MismatchedRollouts
from policytrim_gym.evaluation.evaluate import evaluate_policy
from policytrim_gym.evaluation.pareto import best_untrained_pair
from policytrim_gym.evaluation.task_table import best_pair_by_task, task_table_selector
from policytrim_gym.replan import HorizonChoice, ReplanContext
from policytrim_gym.selectors.action_delta import ActionDeltaSelector
from policytrim_gym.selectors.disagreement import DisagreementSelector
from policytrim_gym.selectors.prefix_selector import DEFAULT_HORIZONS, PrefixSelector
from policytrim_gym.selectors.selector import FixedSelector
from policytrim_gym.selectors.task_table import TaskTableSelector
from policytrim_gym.spec import PolicySpec

CHUNK_SIZE = 16
HORIZONS = (1, 2, 4, 8, 16)
RULES = (DisagreementSelector, ActionDeltaSelector)
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def random_contexts(number: int = 40, scale: float = 1.0) -> list[ReplanContext]:
    """Contexts in which the new chunk drifts away from the plan of the old one."""
    generator = np.random.default_rng(3)
    contexts = []
    for index in range(number):
        plan = generator.normal(size=(2 * CHUNK_SIZE, 3))
        consumed = 1 + index % CHUNK_SIZE
        drift = np.cumsum(generator.normal(size=(CHUNK_SIZE, 3)), axis=0) * 0.1
        new = plan[consumed : consumed + CHUNK_SIZE] + drift
        contexts.append(ReplanContext({}, ActionChunk(scale * new), ActionChunk(scale * plan[:CHUNK_SIZE]), consumed))
    return contexts


def chosen(selector: PrefixSelector, contexts: list[ReplanContext]) -> list[int]:
    return [choice.execute_horizon for choice in selector.select(contexts)]


@pytest.mark.parametrize("consumed", range(1, CHUNK_SIZE))
def test_a_plan_that_is_repeated_runs_to_the_longest_horizon(consumed: int) -> None:
    plan = np.random.default_rng(0).normal(size=(2 * CHUNK_SIZE, 3))
    context = ReplanContext({}, ActionChunk(plan[consumed : consumed + CHUNK_SIZE]), ActionChunk(plan[:CHUNK_SIZE]), consumed)
    assert chosen(DisagreementSelector(HORIZONS, threshold=0.0), [context]) == [16]


@pytest.mark.parametrize("first_wrong", range(12))
def test_disagreement_stops_at_the_longest_horizon_that_is_confirmed(first_wrong: int) -> None:
    plan = np.ones((CHUNK_SIZE, 3))
    new = plan.copy()
    new[first_wrong] = -1
    context = ReplanContext({}, ActionChunk(new), ActionChunk(plan), consumed_steps=4)
    confirmed = max([horizon for horizon in HORIZONS if horizon <= first_wrong], default=1)
    assert chosen(DisagreementSelector(HORIZONS, threshold=0.5), [context]) == [confirmed]


@pytest.mark.parametrize("distance", [0.1, 0.9, 1.1, 3.0])
def test_the_threshold_is_the_share_of_the_root_mean_square_action(distance: float) -> None:
    """Two plans of unit actions whose distance is known: the threshold decides exactly there."""
    new = ActionChunk(np.tile([0.6, 0.8], (CHUNK_SIZE, 1)))
    old = ActionChunk(new.actions + np.array([0.8, -0.6]) * distance)
    context = ReplanContext({}, new, old, consumed_steps=2)
    assert chosen(DisagreementSelector(HORIZONS, threshold=1.0), [context]) == [16 if distance <= 1 else 1]


@pytest.mark.parametrize("scale", [0.25, 64.0])
def test_disagreement_does_not_depend_on_the_unit_of_the_actions(scale: float) -> None:
    selector = DisagreementSelector(HORIZONS, threshold=0.2)
    horizons = chosen(selector, random_contexts())
    assert len(set(horizons)) > 2
    assert chosen(selector, random_contexts(scale=scale)) == horizons


@pytest.mark.parametrize("scale", [0.25, 64.0])
def test_the_threshold_of_action_delta_scales_with_the_actions(scale: float) -> None:
    horizons = chosen(ActionDeltaSelector(HORIZONS, threshold=2.0), random_contexts())
    assert len(set(horizons)) > 2
    assert chosen(ActionDeltaSelector(HORIZONS, threshold=2.0 * scale), random_contexts(scale=scale)) == horizons


@pytest.mark.parametrize("rule", RULES)
def test_a_higher_threshold_never_chooses_a_shorter_horizon(rule: type[PrefixSelector]) -> None:
    contexts = random_contexts()
    by_threshold = np.array([chosen(rule(HORIZONS, threshold), contexts) for threshold in THRESHOLDS])
    assert (np.diff(by_threshold, axis=0) >= 0).all()
    assert by_threshold[0].mean() < by_threshold[-1].mean()


def test_without_an_overlap_disagreement_leaves_one_for_the_next_time() -> None:
    chunk = ActionChunk(np.ones((CHUNK_SIZE, 3)))
    without = [ReplanContext({}, chunk), ReplanContext({}, chunk, chunk, consumed_steps=CHUNK_SIZE)]
    assert chosen(DisagreementSelector(HORIZONS, 0.5), without) == [8, 8]
    assert chosen(DisagreementSelector(HORIZONS, 0.5, fallback=2), without) == [2, 2]


@pytest.mark.parametrize("flip", range(1, CHUNK_SIZE))
def test_a_gripper_flip_ends_the_window_just_before_it(flip: int) -> None:
    actions = np.full((CHUNK_SIZE, 3), 0.1)
    actions[:, 2] = np.where(np.arange(CHUNK_SIZE) < flip, -1.0, 1.0)
    context = ReplanContext({}, ActionChunk(actions))
    every = tuple(range(1, CHUNK_SIZE + 1))
    assert chosen(ActionDeltaSelector(every, threshold=1.0), [context]) == [flip]
    assert chosen(ActionDeltaSelector((4, 8, 16), threshold=1.0), [context]) == [max(4, 4 * 2 ** int(np.log2(max(flip, 4) / 4)))]
    assert chosen(ActionDeltaSelector(every, threshold=2.0), [context]) == [CHUNK_SIZE]


def test_a_chunk_of_one_action_is_run() -> None:
    context = ReplanContext({}, ActionChunk([[1.0]]))
    assert chosen(ActionDeltaSelector((1,), threshold=0.0), [context]) == [1]


def test_a_rule_that_always_trusts_is_the_fixed_setting() -> None:
    setting = {"num_episodes": 2, "num_workers": 0}
    rule = evaluate_policy(pendulum_policy(), make_pendulum, selector=ActionDeltaSelector((2, 3), 1e6, playback_rate=2.0), **setting)
    fixed = evaluate_policy(pendulum_policy(), make_pendulum, selector=FixedSelector(3, 2.0), **setting)
    assert timeless(rule) == timeless(fixed)


def test_a_table_of_one_choice_is_the_fixed_setting_and_tasks_are_told_apart() -> None:
    setting = {"num_episodes": 2, "num_workers": 0}
    table = evaluate_policy(pendulum_policy(), make_pendulum, selector=TaskTableSelector({}, HorizonChoice(3, 2.0)), **setting)
    fixed = evaluate_policy(pendulum_policy(), make_pendulum, selector=FixedSelector(3, 2.0), **setting)
    assert timeless(table) == timeless(fixed)
    selector = TaskTableSelector({"push it": HorizonChoice(2), "reach it": HorizonChoice(8, 1.5)}, default=HorizonChoice(4))
    asked = [ReplanContext({"instruction": text}, None) for text in ("reach it", "push it", "turn it")]
    assert selector.select([*asked, ReplanContext({}, None)]) == [(8, 1.5), (2, 1.0), (4, 1.0), (4, 1.0)]
    assert selector.longest_horizon == 8


def test_each_task_gets_the_pair_that_is_best_on_it_alone() -> None:
    stock = synthetic_arm("h=8", success_rate=0.8)
    arms = [stock, *(synthetic_arm(f"h={h}", horizon=h, pace=pace, success_rate=0.9) for h, pace in ((16, 1.0), (32, 1.2)))]
    choices = best_pair_by_task(arms, stock)
    assert choices.keys() == TASK_STEPS.keys()
    for task, choice in choices.items():
        own = [arm.by_task()[task] for arm in arms]
        assert choice == best_untrained_pair(own, own[0])
    instructions = {task: f"do {task}" for task in TASK_STEPS}
    selector = task_table_selector(arms, stock, instructions)
    assert {text: choice.execute_horizon for text, choice in selector.table.items()} == {
        instructions[task]: choice.execute_horizon for task, choice in choices.items()
    }
    assert selector.default.execute_horizon == best_untrained_pair(arms, stock).execute_horizon
    with pytest.raises(InvalidSpec, match="push-v3"):
        task_table_selector(arms, stock, {"reach-v3": "reach", "peg-insert-side-v3": "insert"})
    with pytest.raises(MismatchedRollouts):
        best_pair_by_task([synthetic_arm("h=16", num_states=3)], stock)


@pytest.mark.parametrize("rule", RULES)
def test_text_and_selector_agree(rule: type[PrefixSelector]) -> None:
    plain, full = rule.parse("0.5"), rule.parse("0.25:4,16x1.5")
    assert (plain.threshold, plain.horizons, plain.playback_rate) == (0.5, DEFAULT_HORIZONS, 1.0)
    assert full.name == rule((4, 16), 0.25, playback_rate=1.5).name == f"{rule.rule} 0.25 h=4-16 x1.5"
    for wrong in ("", "abc", "0.5:", "0.5:4,", "0.5x", "0.5x2:4", "0.5:4:8"):
        with pytest.raises(InvalidConfig, match="must have the form"):
            rule.parse(wrong)


@pytest.mark.parametrize("rule", RULES)
def test_arguments_out_of_range_are_refused(rule: type[PrefixSelector]) -> None:
    for horizons in ((), (4, 2), (2, 2), (0, 2), (1.5,)):
        with pytest.raises(InvalidHorizon, match="strictly increasing"):
            rule(horizons, 0.5)
    for threshold in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InvalidConfig, match="threshold must be"):
            rule((2, 4), threshold)
    for rate in (0.0, float("nan"), float("inf")):
        with pytest.raises(InvalidSpec, match="finite number above 0"):
            rule((2, 4), 0.5, playback_rate=rate)
    with pytest.raises(InvalidHorizon, match="got 8"):
        rule((2, 8), 0.5).check_policy(PolicySpec(4, 1))
    with pytest.raises(InvalidSpec, match="action_kinds"):
        rule((2, 4), 0.5, playback_rate=2.0).check_policy(PolicySpec(4, 1))


def test_disagreement_without_room_for_an_overlap_is_refused() -> None:
    with pytest.raises(InvalidHorizon, match="one of the horizons"):
        DisagreementSelector((2, 4), 0.5, fallback=3)
    for selector in (DisagreementSelector((4,), 0.5), DisagreementSelector((2, 4), 0.5, fallback=4)):
        with pytest.raises(InvalidHorizon, match="leaves an overlap"):
            selector.check_policy(PolicySpec(4, 1))
