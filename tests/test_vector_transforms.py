"""Laws of the transforms of states and actions: inverse pairs are identities, and each convention has its closed form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from policytrim_gym.errors import InvalidConfig, MismatchedTransform
from policytrim_gym.policies import vector_transforms as transforms
from policytrim_gym.policies.norm_statistics import NormStatistics, load_norm_statistics
from policytrim_gym.policies.vector_transforms import CLOSED_AND_OPEN

RANDOM = np.random.default_rng(0)
CHUNK = RANDOM.normal(size=(5, 4))
STATE = RANDOM.normal(size=6)
STATISTICS = NormStatistics(mean=(0.1, -2.0, 3.0), std=(1.0, 0.0, 0.5), q01=(-1.0, 0.5, 2.0), q99=(1.0, 0.5, 6.0))


@pytest.mark.parametrize("values", [CHUNK, CHUNK[0], CHUNK[:, :2]], ids=["chunk", "vector", "shorter than the statistics"])
@pytest.mark.parametrize("kind", ["z_score", "quantile"])
def test_normalisations_are_undone(kind, values):
    normalize, unnormalize = getattr(transforms, f"normalize_{kind}"), getattr(transforms, f"unnormalize_{kind}")
    np.testing.assert_allclose(unnormalize(normalize(values, STATISTICS), STATISTICS), values, rtol=1e-9)
    np.testing.assert_allclose(normalize(unnormalize(values, STATISTICS), STATISTICS), values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["z_score", "quantile"])
def test_padding_behind_the_statistics_passes(kind):
    for name in (f"normalize_{kind}", f"unnormalize_{kind}"):
        np.testing.assert_allclose(getattr(transforms, name)(CHUNK, STATISTICS)[:, 3], CHUNK[:, 3], rtol=1e-12)


def test_normalisations_have_their_closed_form():
    one = NormStatistics(mean=(2.0,), std=(0.5,), q01=(1.0,), q99=(3.0,))
    np.testing.assert_allclose(transforms.normalize_z_score(np.array([2.0, 9.0])[:1], one), [0.0])
    np.testing.assert_allclose(transforms.normalize_z_score(np.array([2.5]), one), [0.5 / (0.5 + 1e-6)])
    np.testing.assert_allclose([transforms.normalize_quantile(np.array([x]), one)[0] for x in (1.0, 2.0, 3.0)], [-1, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (lambda x: transforms.pad_to(x, 32), lambda x: transforms.take(x, 4)),
        (lambda x: transforms.reorder(x, (2, 0, 3, 1)), lambda x: transforms.restore_order(x, (2, 0, 3, 1))),
        (lambda x: transforms.invert(x, (0, -1)), lambda x: transforms.invert(x, (0, -1))),
        (
            lambda x: transforms.delta_to_absolute(x, STATE, (5, None, 0)),
            lambda x: transforms.absolute_to_delta(x, STATE, (5, None, 0)),
        ),
    ],
    ids=["padding", "order", "sign", "deltas"],
)
def test_inverse_pairs_are_identities_and_leave_their_input_alone(there, back):
    for values in (CHUNK, CHUNK[0]):
        before = values.copy()
        np.testing.assert_allclose(back(there(values)), values, rtol=1e-12)
        np.testing.assert_array_equal(values, before)
        assert there(values).shape != values.shape or not np.allclose(there(values), values)


@pytest.mark.parametrize("model", CLOSED_AND_OPEN)
@pytest.mark.parametrize("env", CLOSED_AND_OPEN)
def test_gripper_conventions_carry_closed_to_closed_and_open_to_open(model, env):
    chunk = np.array([[0.7, CLOSED_AND_OPEN[model][0]], [0.7, CLOSED_AND_OPEN[model][1]]])
    converted = transforms.convert_gripper(chunk, model, env)
    np.testing.assert_array_equal(converted, [[0.7, CLOSED_AND_OPEN[env][0]], [0.7, CLOSED_AND_OPEN[env][1]]])
    np.testing.assert_allclose(transforms.convert_gripper(transforms.convert_gripper(CHUNK, model, env), env, model), CHUNK, rtol=1e-9)


def test_openvlas_grippers_become_liberos():
    """OpenVLA's evaluation scales 0..1 to -1..1, takes the sign and inverts it; here it is one conversion and one threshold."""
    chunk = np.array([[0.1], [0.9]])
    converted = transforms.convert_gripper(chunk, "0_closed_1_open", "minus1_open_1_closed")
    np.testing.assert_array_equal(transforms.binarize(converted, 0.0, low=-1.0), -np.sign(2 * chunk - 1))


def test_a_threshold_itself_is_below():
    np.testing.assert_array_equal(transforms.binarize(np.array([[9.0, 0.5], [9.0, 0.51]]), 0.5), [[9.0, 0.0], [9.0, 1.0]])


def test_deltas_all_start_from_the_state_of_the_prediction():
    absolute = transforms.delta_to_absolute(np.array([[0.1, 0.1, 1.0], [0.2, 0.1, 0.0]]), np.array([5.0, 7.0]), (1, 0, None))
    np.testing.assert_allclose(absolute, [[7.1, 5.1, 1.0], [7.2, 5.1, 0.0]])


def test_axis_angles_are_undone_by_the_half_angle_formula():
    quaternions = RANDOM.normal(size=(50, 4))
    quaternions /= np.linalg.norm(quaternions, axis=-1, keepdims=True)
    rotations = transforms.quaternion_to_axis_angle(quaternions)
    angles = np.linalg.norm(rotations, axis=-1, keepdims=True)
    assert (angles > np.pi).any(), "the angle goes to 2 pi, as robosuite has it"
    half = np.concatenate([rotations / angles * np.sin(angles / 2), np.cos(angles / 2)], axis=-1)
    np.testing.assert_allclose(half, quaternions, atol=1e-9)


def test_no_rotation_is_zero_even_where_rounding_makes_it_more_than_one():
    np.testing.assert_array_equal(transforms.quaternion_to_axis_angle(np.array([0.0, 0.0, 0.0, 1.0 + 1e-7])), np.zeros(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transforms.select(CHUNK, (0, 4)), "index 4 is beyond the 4 numbers"),
        (lambda: transforms.take(CHUNK, 5), r"count must be in 1..4, got 5"),
        (lambda: transforms.pad_to(CHUNK, 3), "size must be at least the 4 numbers that are there, got 3"),
        (lambda: transforms.reorder(CHUNK, (0, 1, 1, 2)), r"each of 0..3 once, got \[0, 1, 1, 2\]"),
        (lambda: transforms.clip(CHUNK, 1.0, -1.0), "low must not be above high"),
        (lambda: transforms.delta_to_absolute(CHUNK, STATE, (6,)), "index 6 is beyond the 6"),
        (lambda: transforms.delta_to_absolute(CHUNK, CHUNK, (0,)), r"must be a vector, got shape \(5, 4\)"),
        (lambda: transforms.delta_to_absolute(CHUNK, STATE, (0,) * 5), "at most the 4 numbers of an action, got 5"),
        (lambda: transforms.quaternion_to_axis_angle(STATE), r"got shape \(6,\)"),
        (lambda: transforms.normalize_quantile(CHUNK, NormStatistics((0.0,), (1.0,))), "have no q01 and q99"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given(call, message):
    with pytest.raises(MismatchedTransform, match=message):
        call()


def test_statistics_are_read_as_openpi_writes_them(tmp_path):
    file = tmp_path / "norm_stats.json"
    file.write_text(json.dumps({"norm_stats": {"state": {"mean": [1], "std": [2.0], "q01": None, "q99": None}}}))
    assert load_norm_statistics(file) == {"state": NormStatistics((1.0,), (2.0,))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "could not read"),
        ("[]", "expected"),
        ('{"norm_stats": {}}', "expected"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [1, 2]}}}', "std must have as many numbers as mean"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [-1]}}}', "std must not be negative, got -1"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [Infinity]}}}', "std must be finite"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [1], "q01": [0]}}}', "q01 and q99 come together"),
        ('{"norm_stats": {"state": {"mean": [1], "std": [1], "q01": [2], "q99": [1]}}}', "q99 must not be below q01"),
        ('{"norm_stats": {"state": {"mean": [1], "sdt": [1]}}}', 'did you mean "std"'),
    ],
)
def test_broken_statistics_are_named(tmp_path, content, message):
    file = tmp_path / "norm_stats.json"
    file.write_text(content)
    with pytest.raises(InvalidConfig, match=message) as caught:
        load_norm_statistics(file)
    assert str(file) in str(caught.value)
