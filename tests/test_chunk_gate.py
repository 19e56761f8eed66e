"""Laws of the gate of chunks and of the gate of the motion that they become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ros_gate import FAULTS, JOINTS, clean_case
from policytrim_gym.errors import InvalidConfig
from policytrim_ros.control.chunk_gate import ChunkAnswer, ChunkGate, GateConfig, RefusalReason
from policytrim_ros.control.motion_state import MeasuredState


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_refused_for_its_own_reason(fault: str) -> None:
    inject, reason = FAULTS[fault]
    random = np.random.default_rng(len(fault))
    for _ in range(40):
        refusal = inject(clean_case(random), random).refusal()
        assert refusal is not None and refusal.reason is reason, refusal
        assert "\n" not in refusal.message and any(character.isdigit() for character in refusal.message)


def test_clean_chunks_are_never_refused() -> None:
    random = np.random.default_rng(0)
    assert [refusal for _ in range(150) if (refusal := clean_case(random).refusal()) is not None] == []


def test_a_check_changes_nothing() -> None:
    case = clean_case(np.random.default_rng(1))
    actions = np.array(case.answer.actions)
    case.answer.actions.setflags(write=False)
    assert case.refusal() is None and case.refusal() is None
    np.testing.assert_array_equal(case.answer.actions, actions)


def staying(dtype: type = np.float64, positions: np.ndarray | None = None) -> tuple[ChunkGate, ChunkAnswer, MeasuredState]:
    """A chunk that asks for where the arm is."""
    actions = np.append(JOINTS.robot.home, 1.0) if positions is None else positions
    measured = MeasuredState(np.append(actions[:-1], 0.04), np.zeros(7), 10.0)
    return ChunkGate(JOINTS, 5), ChunkAnswer(np.tile(actions, (5, 1)).astype(dtype), JOINTS.labels, 10.0), measured


def reason_of(gate: ChunkGate, answer: ChunkAnswer, measured: MeasuredState | None, **late: float) -> RefusalReason | None:
    refusal = gate.check(answer, measured, **{"first_step": 0, "until_join_s": 0.0, "now_s": 10.05, **late})  # type: ignore[arg-type]
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize("end", ["lower", "upper"])
def test_a_limit_that_float32_rounds_outwards_is_still_within(end: str) -> None:
    assert reason_of(*staying(np.float32, getattr(JOINTS, end))) is None


def test_a_step_a_hair_below_its_bound_passes_and_above_does_not() -> None:
    gate, answer, measured = staying()
    bound = JOINTS.robot.arm_limits.velocity[0] * gate.config.target_step_s
    for share, expected in ((0.999, None), (1.001, RefusalReason.TARGET_STEP)):
        actions = np.array(answer.actions)
        actions[3:, 0] += share * bound
        assert reason_of(gate, replace(answer, actions=actions), measured) is expected


def test_the_start_is_measured_at_the_step_that_takes_over_and_may_lie_as_far_as_the_arm_gets_until_then() -> None:
    gate, answer, measured = staying()
    actions = np.array(answer.actions)
    actions[:, 0] += 0.9 * np.arange(5) * 0.5
    answer = replace(answer, actions=actions)
    assert reason_of(gate, answer, measured, first_step=2) is None  # 0.9 rad, the bound is 1 rad at 2 rad/s
    assert reason_of(gate, answer, measured, first_step=3) is RefusalReason.START_JUMP
    assert reason_of(gate, answer, measured, first_step=3, until_join_s=0.2) is None


def test_a_chunk_of_which_every_step_has_passed_is_stale() -> None:
    gate, answer, measured = staying()
    assert reason_of(gate, answer, measured, first_step=4) is None
    assert reason_of(gate, answer, measured, first_step=5) is RefusalReason.STALE_OBSERVATION


def test_without_measured_joints_nothing_may_begin() -> None:
    gate, answer, _ = staying()
    assert reason_of(gate, answer, None) is RefusalReason.STALE_STATE


def test_a_restart_refuses_what_was_observed_before_it_and_forgets_what_was_accepted() -> None:
    gate, answer, measured = staying()
    gate.accept(10.0)
    assert reason_of(gate, answer, measured) is RefusalReason.DUPLICATE
    gate.restart(10.01)
    assert reason_of(gate, answer, measured) is RefusalReason.OUT_OF_ORDER
    gate.restart(9.99)
    assert reason_of(gate, answer, measured) is None


@pytest.mark.parametrize("actions", [None, "error", [[0.0] * 7], [[0.0], [0.0, 1.0]], np.full((5, 7), "0.1"), np.full((5, 7), None)])
def test_what_is_no_array_of_numbers_is_refused_and_raises_nothing(actions: object) -> None:
    gate, answer, measured = staying()
    assert reason_of(gate, replace(answer, actions=actions), measured) is RefusalReason.WRONG_SHAPE


def test_a_nan_stamp_is_refused() -> None:
    gate, answer, measured = staying()
    assert reason_of(gate, replace(answer, observation_stamp_s=float("nan")), measured) is RefusalReason.FUTURE_OBSERVATION


def test_bounds_that_are_not_above_zero_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="start_jump_s must be a finite number above 0, got 0.0"):
        GateConfig(start_jump_s=0.0)
