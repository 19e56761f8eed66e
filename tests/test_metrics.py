"""Laws of the rollout record."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from policytrim_gym.metrics import RolloutRecord, is_success


@pytest.mark.parametrize("extra", [{}, {"inference_s": 0.1, "task": "reach-v3", "initial_state": 3}, {"motion_s": 1.0, "shortest_s": 0.0}])
def test_a_record_round_trips_through_json(extra: dict) -> None:
    record = RolloutRecord(True, 20, 3, (8, 8, 4), 20 / 24, 0.5, **extra)
    assert RolloutRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_record_says_nothing_of_motion_that_was_not_measured() -> None:
    bare = RolloutRecord(True, 20, 3, (8, 8, 4), 20 / 24, 0.5)
    assert bare.to_json().keys().isdisjoint({"motion_s", "shortest_s", "motion_headroom"}) and bare.motion_headroom is None
    assert replace(bare, motion_s=1.0, shortest_s=0.0).motion_headroom is None  # nothing moved
    assert replace(bare, motion_s=1.0, shortest_s=0.8).motion_headroom == 1.25


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, False),
        ({"success": 1.0}, True),
        ({"success": 0.0}, False),
        ({"is_success": True}, True),
        ({"is_success": False, "success": True}, False),  # is_success comes first
    ],
)
def test_success_is_is_success_then_success(info: dict, expected: bool) -> None:
    assert is_success(info) is expected
