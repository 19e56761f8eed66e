"""Laws of the moment at which the next chunk is asked for: with a fresh observation, and never later than its time."""

from __future__ import annotations

import numpy as np
import pytest
from executor_rig import DT_S, ROBOT, TICK_S, Rig, following, walk

from policytrim_ros.control.commands import Ask, Publish
from policytrim_ros.control.motion_state import MeasuredState
from policytrim_ros.control.observation_period import REMEMBERED, ObservationPeriod

LATENCY_S, LEAD = 0.05, 2


class BetweenTicks(Rig):
    """Observations come a while after a tick, with every so many ticks, and late."""

    def __init__(self, after_tick_s: float, every: int = 1, late_s: float = 0.0, **settings: object) -> None:
        super().__init__(following(walk(1)), LATENCY_S, first_latency_s=LATENCY_S, **settings)
        self.silent = {"joint_states", "image/front"}  # they come from here
        self._after_tick_s, self._every, self._late_s = after_tick_s, every, late_s

    def step(self) -> None:
        tick_s = self.now_s
        self.now_s += self._after_tick_s
        positions = self.desired[-1][1].positions if self.desired else np.append(ROBOT.home, 0.04)
        self.executor.joints_arrived(MeasuredState(positions, np.zeros(7), self.now_s), self.now_s)
        if self._ticks % self._every == 0:
            self.executor.image_arrived("image/front", self.now_s, self.now_s)
            self.carry_out(self.executor.observation_arrived(self.now_s - self._late_s, self.now_s))
        self.now_s = tick_s
        super().step()

    def questions(self) -> list[tuple[float, float, float]]:
        """Returns of each question but the first few when it was asked, with which observation, and when it was due [s]."""
        asked = [(at_s, command.observation_stamp_s) for at_s, command in self.commands if isinstance(command, Ask)]
        records = [command.record for command in self.of(Publish)]
        dues_s = [record.join_s + (record.execute_horizon - LEAD - record.dropped_steps) * DT_S for record in records]
        return [(*question, due_s) for question, due_s in zip(asked[1:], dues_s)][4:]


@pytest.mark.parametrize("after_tick_s", [0.0003, 0.002, 0.005, 0.0097])
def test_where_observations_come_often_the_policy_is_asked_as_one_arrives(after_tick_s: float) -> None:
    rig = BetweenTicks(after_tick_s).begin()
    rig.run(6.0)
    questions = rig.questions()
    assert len(questions) > 10
    for at_s, stamp_s, due_s in questions:
        assert at_s == stamp_s  # as it arrives
        assert due_s - TICK_S - 1e-6 <= at_s <= due_s + TICK_S


@pytest.mark.parametrize("every", [2, 3, 7])
@pytest.mark.parametrize("after_tick_s", [0.0003, 0.005, 0.0097])
def test_a_question_is_never_late_and_half_a_step_early_at_most_with_the_observation_that_it_would_have_later(after_tick_s, every):
    rig = BetweenTicks(after_tick_s, every).begin()
    rig.run(6.0)
    questions = rig.questions()
    assert len(questions) > 10 and set(rig.verdicts()) == {"published"}
    for at_s, stamp_s, due_s in questions:
        assert due_s - DT_S / 2 - 1e-6 <= at_s <= due_s + TICK_S + 1e-6
        assert stamp_s + every * TICK_S > due_s - 1e-6  # nothing newer was there when it was due


@pytest.mark.parametrize("late_s", [0.011, 0.04])
def test_nothing_is_asked_early_with_an_observation_behind_which_the_next_one_waits(late_s: float) -> None:
    rig = BetweenTicks(0.005, late_s=late_s).begin()
    rig.run(6.0)
    questions = rig.questions()
    assert len(questions) > 10
    assert all(at_s >= due_s - 1e-6 for at_s, _, due_s in questions)


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_nothing_is_asked_before_the_present_chunk_has_taken_over(horizon: int) -> None:
    rig = BetweenTicks(0.005, execute_horizon=horizon).begin()
    rig.run(2.0)
    records = [command.record for command in rig.of(Publish)]
    asked_s = [at_s for at_s, command in rig.commands if isinstance(command, Ask)]
    assert len(records) > 10
    assert all(at_s >= record.join_s - 1e-6 for at_s, record in zip(asked_s[1:], records))


def test_synchronous_execution_is_not_early() -> None:
    rig = BetweenTicks(0.005, asynchronous=False).begin()
    rig.run(4.0)
    records = [command.record for command in rig.of(Publish)]
    asks = [command for command in rig.of(Ask)][1:]
    assert len(asks) > 3
    assert all(ask.observation_stamp_s > record.join_s + 8 * DT_S for ask, record in zip(asks, records))


def period(*times_s: float) -> float:
    found = ObservationPeriod()
    for stamp_s in np.cumsum([100.0, *times_s]):
        found.arrived(float(stamp_s))
    return found.shortest_s


def test_the_period_of_regular_observations_is_known_after_a_few_and_one_that_was_late_changes_nothing() -> None:
    assert period(0.01) == period() == 0.0
    assert period(*[0.01] * (REMEMBERED // 2)) == pytest.approx(0.01)
    assert period(*[0.01] * 6, 0.019, 0.001) == pytest.approx(0.01)


@pytest.mark.parametrize("num_cameras", [2, 3, 4])
def test_with_several_cameras_the_time_within_a_burst_counts(num_cameras: int) -> None:
    burst = [*[0.002] * (num_cameras - 1), 0.033]
    assert period(*burst * 5) == pytest.approx(0.002)


def test_a_clock_that_goes_back_makes_no_period() -> None:
    found = ObservationPeriod()
    for stamp_s in (*np.arange(100.0, 100.1, 0.01), 50.0, 50.01):
        found.arrived(float(stamp_s))
    assert found.shortest_s == pytest.approx(0.01)


@pytest.mark.parametrize("chunk_size", [1, 2, 8])
@pytest.mark.parametrize("latency_s", [0.005, 0.06, 0.45, 0.9])
def test_nothing_is_asked_of_whose_answer_no_step_would_be_left(chunk_size: int, latency_s: float) -> None:
    rig = Rig(following(walk(3), chunk_size), latency_s, chunk_size=chunk_size, execute_horizon=chunk_size).begin()
    rig.run(6.0)
    assert set(rig.verdicts()) == {"published"} and len(rig.verdicts()) >= 5
