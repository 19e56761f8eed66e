"""Laws of the policy interface and its specification."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.errors import InvalidChunk, InvalidHorizon, InvalidSpec, MissingObservation
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec

SPEC = PolicySpec(chunk_size=4, action_dim=2, observation_shapes={"state": (3,), "image_front": (None, None, 3)}, needs_instruction=True)
OBSERVATION = {"state": np.zeros(3), "image_front": np.zeros((8, 6, 3), np.uint8), "instruction": "go"}


def test_defaults_run_the_whole_chunk() -> None:
    spec = PolicySpec(chunk_size=8, action_dim=1)
    assert spec.execute_horizon == spec.horizon == 8
    assert spec.with_horizon(3).horizon == 3
    assert spec.with_horizon(3).with_horizon(8) == spec


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"chunk_size": 0}, InvalidSpec, "chunk_size .* 0"),
        ({"chunk_size": 2.0}, InvalidSpec, "chunk_size .* 2.0"),
        ({"action_dim": True}, InvalidSpec, "action_dim .* True"),
        ({"execute_horizon": 9}, InvalidHorizon, r"1\.\.8.*got 9"),
        ({"execute_horizon": 0}, InvalidHorizon, r"1\.\.8.*got 0"),
        ({"control_dt_s": 0.0}, InvalidSpec, "control_dt_s .* 0.0"),
        ({"control_dt_s": float("nan")}, InvalidSpec, "control_dt_s .* nan"),
        ({"action_kinds": ("delta",)}, InvalidSpec, "action_kinds must be 2"),
        ({"action_kinds": ("delta", "speed")}, InvalidSpec, "speed"),
    ],
)
def test_a_specification_that_contradicts_itself_is_refused(fields: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PolicySpec(**{"chunk_size": 8, "action_dim": 2, **fields})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": None}, r'lacks the key "state".*image_front'),
        ({"state": np.zeros(4)}, r'observation\["state"\] must have shape \(3,\), got \(4,\)'),
        ({"state": np.array([0, np.nan, 0])}, r'observation\["state"\] must be finite, got nan'),
        ({"image_front": np.zeros((8, 6, 4))}, r"shape \(None, None, 3\), got \(8, 6, 4\)"),
        ({"image_front": np.zeros((6, 3))}, r"got \(6, 3\)"),
        ({"instruction": None}, "instruction"),
        ({"instruction": 3}, r"must be a string \(an environment has it in its info\), got 3"),
        ({"state": ["0", "0", "1"]}, r'observation\["state"\] must be numbers, got <U1'),
        ({"state": [[0], [0, 1]]}, r'observation\["state"\] must have shape \(3,\), got rows of several lengths'),
    ],
)
def test_an_observation_that_does_not_fit_is_named(change: dict, message: str) -> None:
    observation = {key: value for key, value in {**OBSERVATION, **change}.items() if value is not None}
    with pytest.raises(MissingObservation, match=message):
        SPEC.check_observation(observation)


def test_an_observation_that_is_no_dict_is_named() -> None:
    with pytest.raises(MissingObservation, match=r"an observation must be a dict with \['image_front', 'state'\], got ndarray"):
        SPEC.check_observation(np.zeros(3))  # type: ignore[arg-type]


def test_an_observation_may_hold_more_than_is_needed() -> None:
    SPEC.check_observation({**OBSERVATION, "image_wrist": "anything"})


def test_a_function_becomes_a_policy_and_its_result_is_checked() -> None:
    policy = CallablePolicy(lambda observation: np.full((4, 2), observation["state"][0]), SPEC)
    observations = [{**OBSERVATION, "state": np.full(3, value)} for value in (1.0, 2.0)]
    assert [chunk.actions[0, 0] for chunk in policy.predict_action_chunks(observations)] == [1.0, 2.0]
    with pytest.raises(MissingObservation):
        policy.predict_action_chunk({})
    for wrong in (np.zeros((4, 3)), np.zeros((3, 2)), np.full((4, 2), np.nan), "x"):
        with pytest.raises(InvalidChunk):
            CallablePolicy(lambda observation, wrong=wrong: wrong, SPEC).predict_action_chunk(OBSERVATION)
