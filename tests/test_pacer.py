"""Laws of the pace of a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_ros.sim.pacer import MAX_TICKS, Pacer


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("keeps_up", [True, False])
def test_who_asks_often_enough_gets_every_tick_once(factor, keeps_up):
    pacer = Pacer(0.01, factor, keeps_up)
    times = 1000.0 + np.append(0.0, np.cumsum(np.random.default_rng(0).uniform(0.0, 0.02, 500)))
    done = [pacer.due(time) for time in times]
    assert sum(done) == int((times[-1] - times[0]) * factor / 0.01 + 1e-6)
    assert max(done) <= MAX_TICKS


def test_lost_time_is_made_up_for_only_where_another_clock_demands_it():
    for keeps_up, expected in ((True, 100), (False, MAX_TICKS)):
        pacer = Pacer(0.01, 1.0, keeps_up)
        pacer.due(5.0)
        assert sum(pacer.due(6.0 + 1e-6 * again) for again in range(50)) == expected
        assert pacer.due(6.02) == 2  # and then it keeps its pace
