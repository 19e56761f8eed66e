"""Closed forms of temporal ensembling."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.ensembling import TemporalEnsemble
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon


def test_one_chunk_is_run_as_it_is() -> None:
    actions = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    np.testing.assert_array_equal(TemporalEnsemble(0.3).window(ActionChunk(actions), 8), actions)


def test_chunks_that_agree_are_not_changed() -> None:
    plan, ensemble = np.random.default_rng(1).normal(size=(40, 2)), TemporalEnsemble(0.1)
    run = [ensemble.window(ActionChunk(plan[start : start + 10]), 3) for start in range(0, 30, 3)]
    np.testing.assert_allclose(np.concatenate(run), plan[:30], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("decay", [0.0, 0.01, 1.0, -0.5])
def test_equals_the_weighted_mean_of_all_chunks_that_cover_the_step(decay: float, every: int) -> None:
    rng, size = np.random.default_rng(2), 6
    chunks = {start: rng.normal(size=(size, 2)) for start in range(0, 18, every)}
    ensemble = TemporalEnsemble(decay)
    run = np.concatenate([ensemble.window(ActionChunk(actions), every) for actions in chunks.values()])
    for step, action in enumerate(run):
        covering = [chunks[start][step - start] for start in chunks if start <= step < start + size]  # oldest first
        weights = np.exp(-decay * np.arange(len(covering)))
        np.testing.assert_allclose(action, weights @ np.array(covering) / weights.sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("decay", "winner"), [(1e4, 1.0), (-1e4, 2.0)])
def test_extreme_decay_keeps_the_oldest_or_the_newest(decay: float, winner: float) -> None:
    ensemble = TemporalEnsemble(decay)
    ensemble.window(ActionChunk(np.full((3, 1), 1.0)), 1)
    assert ensemble.window(ActionChunk(np.full((3, 1), 2.0)), 1) == winner


def test_reset_forgets_all_chunks() -> None:
    ensemble = TemporalEnsemble(0.0)
    ensemble.window(ActionChunk(np.ones((5, 1))), 1)
    ensemble.reset()
    assert ensemble.window(ActionChunk(np.zeros((5, 1))), 1) == 0
    ensemble.reset()
    with pytest.raises(InvalidHorizon, match="no chunk covers step 0"):
        ensemble.next_action()


def test_bad_input_is_named() -> None:
    with pytest.raises(InvalidConfig, match="decay .* nan"):
        TemporalEnsemble(float("nan"))
    ensemble = TemporalEnsemble()
    with pytest.raises(InvalidHorizon, match=r"1\.\.5"):
        ensemble.window(ActionChunk(np.zeros((5, 1))), 6)
    ensemble.add(ActionChunk(np.zeros((5, 1))))
    with pytest.raises(InvalidChunk, match="action_dim 1 .* got 2"):
        ensemble.add(ActionChunk(np.zeros((5, 2))))
