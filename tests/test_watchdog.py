"""Laws of the watchdog: the first thing that went silent is named, at its time, and a repeated message is silence."""

from __future__ import annotations

import pytest

from policytrim_gym.errors import InvalidConfig
from policytrim_ros.control.watchdog import Watchdog


def fed(now_s: float = 10.0) -> Watchdog:
    """A watchdog that everything came to at `now_s`."""
    watchdog = Watchdog({"joint_states": 0.2, "image/front": 0.5, "image/wrist": 0.5}, {"policy": 1.0})
    for name in ("joint_states", "image/front", "image/wrist"):
        watchdog.arrived(name, stamp_s=now_s - 0.01, now_s=now_s)
    return watchdog


def test_nothing_expires_within_its_time_and_the_first_one_is_named_after_it() -> None:
    watchdog = fed()
    assert watchdog.expired(10.2) is None
    assert watchdog.expired(10.2001).name == "joint_states"
    assert "0.250 s, the limit is 0.200 s" in watchdog.expired(10.25).message


def test_the_one_that_expired_first_is_named_when_several_have() -> None:
    watchdog = fed()
    watchdog.arrived("joint_states", 10.39, 10.4)  # until 10.6
    assert watchdog.expired(11.0).name == "image/front"  # since 10.5


def test_a_repeated_stamp_is_as_silent_as_nothing() -> None:
    watchdog = fed()
    for now_s in (10.1, 10.2, 10.3):
        watchdog.arrived("joint_states", stamp_s=9.99, now_s=now_s)
    assert watchdog.expired(10.3).name == "joint_states"


def test_a_senders_clock_that_is_behind_makes_nothing_stale() -> None:
    watchdog = Watchdog({"joint_states": 0.2}, {})
    for step in range(100):
        now_s = 1000.0 + 0.01 * step
        watchdog.arrived("joint_states", stamp_s=now_s - 500.0, now_s=now_s)
        assert watchdog.expired(now_s) is None


def test_an_answer_is_waited_for_only_when_it_was_asked_for() -> None:
    watchdog = Watchdog({}, {"policy": 1.0})
    assert watchdog.expired(1e6) is None
    watchdog.expect("policy", 10.0)
    assert watchdog.expired(11.0) is None
    assert watchdog.expired(11.1).name == "policy"
    watchdog.answered("policy")
    assert watchdog.expired(11.1) is None


def test_what_never_came_is_missing_and_not_expired() -> None:
    watchdog = Watchdog({"joint_states": 0.2, "image/front": 0.5}, {})
    watchdog.arrived("joint_states", 9.9, 10.0)
    assert watchdog.missing == ("image/front",)
    assert watchdog.expired(10.1) is None


def test_a_restart_takes_stamps_of_an_earlier_clock_again() -> None:
    watchdog = fed(10.0)
    watchdog.restart()
    assert len(watchdog.missing) == 3
    watchdog.arrived("joint_states", 1.0, 1.0)
    assert watchdog.expired(1.1) is None


@pytest.mark.parametrize("jump_s, way", [(-0.001, "back"), (-100.0, "back"), (0.51, "forward"), (1e9, "forward")])
def test_a_clock_jump_is_seen_once(jump_s: float, way: str) -> None:
    watchdog = fed()
    assert watchdog.check_clock(10.0) is None
    assert watchdog.check_clock(10.02) is None
    jump = watchdog.check_clock(10.02 + jump_s)
    assert way in jump.message and jump.went_back == (way == "back")
    assert watchdog.check_clock(10.02 + jump_s + 0.02) is None


def test_a_clock_that_stands_still_is_no_jump() -> None:
    watchdog = fed()
    assert [watchdog.check_clock(5.0) for _ in range(3)] == [None] * 3


def test_wrong_settings_and_names_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="joint_states must be a finite number above 0, got 0.0"):
        Watchdog({"joint_states": 0.0}, {})
    with pytest.raises(InvalidConfig, match="two of 'policy'"):
        Watchdog({"policy": 1.0}, {"policy": 1.0})
    with pytest.raises(InvalidConfig, match="'image/side'"):
        fed().arrived("image/side", 1.0, 1.0)
