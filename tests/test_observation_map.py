"""Laws of observation maps: what an environment shows reaches the model as its own client sends it, and chunks come back."""

from __future__ import annotations

import copy
import inspect
import json
import math
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from policytrim_gym.cli.main import main
from policytrim_gym.config import dump_yaml, load_yaml
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidSpec, MismatchedTransform, MissingFile, MissingObservation
from policytrim_gym.policies.mapped_policy import MappedPolicy
from policytrim_gym.policies.observation_map import ModelInput, ObservationMap, known_maps
from policytrim_gym.policies.observation_transforms import FUNCTIONS, Transform
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec
from policytrim_gym.testing import ChunkPolicyContract

RANDOM = np.random.default_rng(0)


def picture(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


# Observations as the environments themselves give them, and what a map must make of them: shapes, and the number of an action's numbers.
OBSERVATIONS = {
    "openpi_libero": {
        "agentview_image": picture(256, 256, 3),
        "robot0_eye_in_hand_image": picture(256, 256, 3),
        "robot0_eef_pos": np.array([-0.2, 0.0, 1.17]),
        "robot0_eef_quat": np.array([1.0, 0.0, 0.0, 0.0]),
        "robot0_gripper_qpos": np.array([0.02, -0.02]),
        "robot0_joint_pos": np.zeros(7),
        "instruction": "pick up the bowl",
    },
    "openpi_droid": {
        "image": {"24514023_left": picture(720, 1280, 4), "24514023_right": picture(720, 1280, 4), "13062452_left": picture(720, 1280, 4)},
        "robot_state": {"joint_positions": [0.1] * 7, "gripper_position": 0.25, "cartesian_position": [0.0] * 6},
        "instruction": "close the drawer",
    },
    "openpi_aloha": {"pixels": {"top": picture(480, 640, 3)}, "agent_pos": RANDOM.normal(size=14)},
    "openpi_metaworld": {"image_front": picture(96, 96, 3), "state": RANDOM.normal(size=39).astype(np.float32), "instruction": "reach"},
    "openpi_policytrim_arm": {
        "image_front": picture(96, 96, 3),
        "image_wrist": picture(96, 96, 3),
        "state": RANDOM.normal(size=11).astype(np.float32),
        "instruction": "push the red puck onto the green pad",
    },
}
SHAPES = {
    "openpi_libero": {"observation/image": (224, 224, 3), "observation/wrist_image": (224, 224, 3), "observation/state": (8,)},
    "openpi_droid": {
        "observation/exterior_image_1_left": (224, 224, 3),
        "observation/wrist_image_left": (224, 224, 3),
        "observation/joint_position": (7,),
        "observation/gripper_position": (1,),
    },
    "openpi_aloha": {"images": {"cam_high": (3, 224, 224)}, "state": (14,)},
    "openpi_metaworld": {"observation/image": (224, 224, 3), "observation/state": (4,)},
    "openpi_policytrim_arm": {"observation/image": (224, 224, 3), "observation/wrist_image": (224, 224, 3), "observation/state": (7,)},
}


def shapes_of(value):
    return {key: shapes_of(item) for key, item in value.items()} if isinstance(value, dict) else np.shape(value)


def test_each_map_that_is_shipped_is_tested():
    assert known_maps() == sorted(OBSERVATIONS) == sorted(SHAPES)


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_a_shipped_map_takes_what_its_environment_gives(name):
    observation, before = OBSERVATIONS[name], copy.deepcopy(OBSERVATIONS[name])
    loaded = ObservationMap.load(name)
    mapped = loaded.observation(observation)
    assert mapped.pop("prompt", None) == observation.get("instruction")
    assert shapes_of(mapped) == SHAPES[name]
    images = [value for value in [*mapped.values(), *mapped.get("images", {}).values()] if np.ndim(value) == 3]
    assert images and all(image.dtype == np.uint8 and image.flags.c_contiguous for image in images)
    actions = loaded.actions(np.full((loaded.chunk_size, loaded.action_dim), 0.4), observation)
    assert actions.shape == (loaded.chunk_size, loaded.env_spec.action_dim) and actions.dtype == np.float32
    assert loaded.action_kinds is not None and len(loaded.action_kinds) == actions.shape[1]
    np.testing.assert_equal(observation, before)


def test_libero_is_mapped_as_openpis_client_does():
    image_tools = pytest.importorskip("openpi_client.image_tools")
    observation = OBSERVATIONS["openpi_libero"]
    mapped = ObservationMap.load("openpi_libero").observation(observation)
    turned = np.ascontiguousarray(observation["agentview_image"][::-1, ::-1])
    np.testing.assert_array_equal(mapped["observation/image"], image_tools.resize_with_pad(turned, 224, 224))
    np.testing.assert_allclose(mapped["observation/state"], [-0.2, 0.0, 1.17, math.pi, 0.0, 0.0, 0.02, -0.02], rtol=1e-6)


def test_droid_is_mapped_as_openpis_client_does():
    image_tools = pytest.importorskip("openpi_client.image_tools")
    observation, loaded = OBSERVATIONS["openpi_droid"], ObservationMap.load("openpi_droid")
    colours = np.ascontiguousarray(observation["image"]["13062452_left"][..., :3][..., ::-1])
    expected = image_tools.resize_with_pad(colours, 224, 224)
    np.testing.assert_array_equal(loaded.observation(observation)["observation/wrist_image_left"], expected)
    chunk = np.full((15, 8), 1.5)
    chunk[:7, 7] = 0.4
    actions = loaded.actions(chunk, observation)
    assert (actions[:, :7] == 1.0).all() and actions[:, 7].tolist() == [0.0] * 7 + [1.0] * 8


def test_the_maps_of_our_own_environments_fit_them():
    metaworld = ObservationMap.load("openpi_metaworld").env_spec
    env = gym.make("policytrim_gym:PolicyTrim/MetaWorld-v0").unwrapped
    assert (metaworld.action_kinds, metaworld.control_dt_s) == (env.action_kinds, env.control_dt_s)
    assert env.action_space.shape == (metaworld.action_dim,)
    pytest.importorskip("pinocchio")
    spec = ObservationMap.load("openpi_policytrim_arm").env_spec
    arm = gym.make("policytrim_gym:PolicyTrim/Arm-v0", observation="pixels").unwrapped
    assert (spec.action_kinds, spec.control_dt_s) == (arm.action_kinds, arm.control_dt_s)
    spec.check_observation({**arm.observation_space.sample(), "instruction": arm.instruction})


def small_map(**changes):
    """A map with padding and deltas: the model gets 4 numbers and predicts 3, of which the environment takes 2."""
    joints = ModelInput(source="joints", shape=(2,), transforms=("rotate",)) if changes.pop("broken", False) else None
    settings = {
        "chunk_size": 3,
        "action_dim": 3,
        "inputs": {
            "state": joints or ModelInput(source="joints", shape=(2,), transforms=({"pad_to": {"size": 4}},)),
            "prompt": ModelInput(source="instruction"),
        },
        "outputs": ({"take": {"count": 2}}, {"delta_to_absolute": {"state": "joints", "indices": (0, 1)}}),
        "action_kinds": ("position", "position"),
    }
    return ObservationMap(**{**settings, **changes})


MODEL = PolicySpec(chunk_size=3, action_dim=3, execute_horizon=2, control_dt_s=0.1, observation_shapes={"state": (4,)})


def small_policy():
    return MappedPolicy(CallablePolicy(lambda shown: np.outer([1, 2, 3], shown["state"][:3]), MODEL), small_map())


class TestMappedPolicy(ChunkPolicyContract):
    def make_policy(self):
        return small_policy()

    def make_observation(self, index):
        return {"joints": [0.5 * index, 1.0], "instruction": "go", "unused": np.zeros(3)}


def test_a_mapped_policy_is_what_it_says_in_a_closed_form():
    policy = small_policy()
    assert policy.spec == PolicySpec(3, 2, 2, 0.1, {"joints": (2,)}, True, ("position", "position"))
    chunk = policy.predict_action_chunk({"joints": [0.5, 1.0], "instruction": "go"})
    np.testing.assert_allclose(chunk.actions, [[1.0, 2.0], [1.5, 3.0], [2.0, 4.0]])  # k * joints + joints


def test_what_the_map_says_goes_before_what_the_model_says():
    inner = CallablePolicy(lambda shown: np.zeros((3, 3)), MODEL)
    spec = MappedPolicy(inner, small_map(execute_horizon=1, control_dt_s=0.05)).spec
    assert (spec.execute_horizon, spec.control_dt_s) == (1, 0.05)


def straight_map(folder):
    """Writes a map between Pendulum-v1 and a model of 32 numbers, and returns its path."""
    state = ModelInput(source="state", shape=(3,), transforms=({"pad_to": {"size": 32}},))
    file = folder / "straight.yaml"
    file.write_text(dump_yaml(ObservationMap(4, 32, {"observation/state": state}, ({"take": {"count": 1}},))))
    return str(file)


def straight_model():
    """A model for `straight_map`."""
    return CallablePolicy(lambda shown: np.zeros((4, 32)), PolicySpec(4, 32, observation_shapes={"observation/state": (32,)}))


def test_the_command_line_puts_the_map_between(tmp_path, capsys):
    arguments = ["sweep", "--policy", "python:test_observation_map:straight_model", "--env", "Pendulum-v1", "--workers", "0"]
    assert main([*arguments, "--episodes", "1"]) == 1
    capsys.readouterr()
    assert main([*arguments, "--episodes", "1", "--observation-map", straight_map(tmp_path)]) == 0
    assert "h=4" in capsys.readouterr().out
    assert main([*arguments, "--observation-map", "openpi_libero"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the observation map openpi_libero is for a model with chunks of 10 x 7" in error


def test_a_map_names_the_environment_and_the_user_replaces_its_arguments(tmp_path, capsys):
    file = Path(straight_map(tmp_path))
    file.write_text(f"{file.read_text()}\nenv: Pendulum-v1\nenv_kwargs: {{g: 0.0}}\n".replace("\nenv: null\nenv_kwargs: {}", ""))
    arguments = ["evaluate", "--policy", "python:test_observation_map:straight_model", "--workers", "0", "--episodes", "1"]
    arguments += ["--observation-map", str(file)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("Pendulum-v1: 1 test episodes")
    for replacing in (["g=fast"], ["gravity=1"]):  # the environment itself refuses them: they have reached it
        assert main([*arguments, "--env-kwargs", *replacing]) == 1
        assert replacing[0].split("=")[0] in capsys.readouterr().err


def test_a_server_that_does_not_say_its_sizes_is_asked_in_the_words_of_the_map(tmp_path, capsys):
    """The official server sends metadata without any size."""
    servers = pytest.importorskip("openpi_servers")
    asked = []
    file = straight_map(tmp_path)

    def answer(observation):
        asked.append(shapes_of(observation))
        return {"actions": np.zeros((4, 32), np.float32)}

    with servers.websocket_server(servers.answering(answer)) as uri:
        command = ["evaluate", "--policy", uri, "--env", "Pendulum-v1", "--workers", "0", "--episodes", "1"]
        assert main([*command, "--observation-map", file, "--horizon", "4"]) == 0
    assert asked == [{"observation/state": (32,)}] * 50  # an episode of 200 steps
    assert "h=4" in capsys.readouterr().out


def test_a_model_of_other_sizes_is_refused_with_both():
    inner = CallablePolicy(lambda shown: np.zeros((50, 32)), PolicySpec(50, 32))
    with pytest.raises(InvalidSpec, match=r"chunks of 3 x 3 .* predicts 50 x 32"):
        MappedPolicy(inner, small_map())


def test_normalisation_and_its_statistics_come_from_the_folder_of_the_map(tmp_path):
    row = {"mean": [1.0, 1.0], "std": [2.0, 2.0]}
    (tmp_path / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": row, "actions": row}}))
    inputs = {"state": ModelInput(source="joints", shape=(2,), transforms=({"normalize_z_score": {"statistics": "state"}},))}
    outputs = ({"unnormalize_z_score": {"statistics": "actions"}},)
    text = dump_yaml(ObservationMap(1, 2, inputs, outputs, statistics="norm_stats.json"))
    (tmp_path / "mine.yaml").write_text(text)
    loaded = ObservationMap.load(tmp_path / "mine.yaml")
    state = loaded.observation({"joints": [3.0, -1.0]})["state"]
    np.testing.assert_allclose(state, [1.0, -1.0], rtol=1e-6)
    np.testing.assert_allclose(loaded.actions(state[None], {}), [[3.0, -1.0]], rtol=1e-6)
    (tmp_path / "mine.yaml").write_text(text.replace("statistics: state", "statistics: stat"))
    with pytest.raises(MismatchedTransform, match='mine, model key "state": normalize_z_score: there is no statistics "stat"'):
        ObservationMap.load(tmp_path / "mine.yaml")


def test_a_map_survives_its_yaml(tmp_path):
    file = tmp_path / "map.yaml"
    file.write_text(dump_yaml(small_map()))
    assert load_yaml(ObservationMap, file).env_spec == small_map().env_spec


@pytest.mark.parametrize("name", [name for name, observation in OBSERVATIONS.items() if name != "openpi_droid"])
def test_a_missing_key_is_named_with_the_map_and_what_is_there(name):
    loaded = ObservationMap.load(name)
    for key in [*loaded.sources, *(["instruction"] if loaded.env_spec.needs_instruction else [])]:
        partial = {other: value for other, value in OBSERVATIONS[name].items() if other != key.split(".")[0]}
        with pytest.raises(MissingObservation) as caught:
            loaded.observation(partial)
        message = str(caught.value)
        assert f'the observation map {name} needs the key "{key}"' in message and "\n" not in message
        assert all(other in message for other in partial)


def test_a_camera_of_another_serial_number_is_named_with_those_that_are_there():
    observation = {**OBSERVATIONS["openpi_droid"], "image": {"999_left": picture(720, 1280, 4)}}
    with pytest.raises(MissingObservation, match=r"image.24514023_left.*image.999_left"):
        ObservationMap.load("openpi_droid").observation(observation)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        ([1.0], r'observation map: observation\["joints"\] must have shape \(2,\), got \(1,\)'),
        ([1.0, math.nan], r'observation\["joints"\] must be finite, got nan'),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(joints, message):
    with pytest.raises(MissingObservation, match=message):
        small_map().observation({"joints": joints, "instruction": "go"})


def test_a_chunk_of_another_shape_is_refused():
    with pytest.raises(InvalidChunk, match=r"must have shape \(3, 3\) .*, got \(3, 4\)"):
        small_map().actions(np.zeros((3, 4)), {"joints": [0.0, 0.0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"broken": True}, 'unknown transform "rotate"; did you mean "rotate_180"'),
        ({"inputs": {}}, "at least one model key"),
        ({"outputs": ({"take": {"cuont": 2}},)}, 'unknown key "cuont" in take; did you mean "count"'),
        ({"outputs": ({"take": {}},)}, 'missing key "count" in take'),
        ({"outputs": ({"take": {"count": "2"}},)}, "count must be an integer, got '2'"),
        ({"outputs": ({"take": {"count": 2}, "clip": {}},)}, "must be one name, or one name with its arguments, got .'clip', 'take'"),
        ({"outputs": ({"convert_gripper": {"model": "0_closed_1_opne", "env": "0_closed_1_open"}},)}, "did you mean"),
        ({"outputs": ({"delta_to_absolute": {"state": "jonts", "indices": [0]}},)}, 'reads "jonts", which is the source of no model key'),
        ({"action_kinds": ("delta", "speed")}, "each item one of 'delta', 'position'.*'speed'"),
        ({"inputs": {"a": ModelInput(source="x", shape=(2,)), "b": ModelInput(source="x", shape=(3,))}, "outputs": ()}, "one shape"),
    ],
)
def test_a_wrong_map_is_refused_when_it_is_made(change, message):
    with pytest.raises(InvalidConfig, match=message):
        small_map(**change)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either source or concatenate"),
        ({"source": "x", "shape": (2,), "concatenate": (ModelInput(source="y", shape=(2,)),)}, "either source or concatenate"),
        ({"source": "x"}, "source 'x' needs a shape"),
        ({"source": "instruction", "shape": (1,)}, "without shape and transforms"),
        ({"concatenate": (ModelInput(source="instruction"),)}, "got the instruction"),
        ({"source": "x", "shape": (2,), "transforms": ({"take": None},)}, "transforms"),
    ],
)
def test_a_wrong_model_key_is_refused_when_it_is_made(settings, message):
    with pytest.raises(InvalidConfig, match=message):
        ModelInput(**settings)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"outputs": ({"take": {"count": 4}},)}, MismatchedTransform, r"outputs: take: count must be in 1..3, got 4"),
        ({"outputs": ("channels_first",)}, MismatchedTransform, "three axes"),
        ({"action_kinds": ("delta",) * 3}, InvalidSpec, "action_kinds must be 2"),
        (
            {"inputs": {"state": ModelInput(source="joints", shape=(2,), transforms=("channels_first",))}},
            MismatchedTransform,
            'model key "state": channels_first: expected an image',
        ),
    ],
)
def test_transforms_that_do_not_fit_each_other_are_found_before_the_first_observation(change, error, message, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(dump_yaml(small_map(**change)))
    with pytest.raises(error, match=message):
        ObservationMap.load(file)


def test_what_fits_some_observation_is_not_refused_by_the_trial_on_zeros(tmp_path):
    cut = ModelInput(source="image", shape=(None, None, 3), transforms=({"center_crop": {"height": 700, "width": 700}},))
    padded = ModelInput(source="state", shape=(None,), transforms=({"pad_to": {"size": 32}},))
    (tmp_path / "map.yaml").write_text(dump_yaml(ObservationMap(1, 2, {"image": cut, "state": padded})))
    loaded = ObservationMap.load(tmp_path / "map.yaml")
    mapped = loaded.observation({"image": picture(720, 1280, 3), "state": np.zeros(7)})
    assert shapes_of(mapped) == {"image": (700, 700, 3), "state": (32,)}
    with pytest.raises(MismatchedTransform, match='map, model key "state": pad_to: size must be at least the 33 numbers'):
        loaded.observation({"image": picture(720, 1280, 3), "state": np.zeros(33)})


def test_an_unknown_map_is_refused_with_those_there_are(tmp_path):
    for name in ("openpi_libro", str(tmp_path / "none.yaml")):
        with pytest.raises(MissingFile, match="openpi_libero") as caught:
            ObservationMap.load(name)
        assert name in str(caught.value)


def test_an_unknown_key_of_a_file_is_refused_with_a_suggestion(tmp_path):
    file = tmp_path / "map.yaml"
    file.write_text("chunk_size: 1\naction_dim: 1\nimputs: {}\n")
    with pytest.raises(InvalidConfig, match=r'map.yaml: unknown key "imputs" in ObservationMap; did you mean "inputs"'):
        ObservationMap.load(file)


def test_the_reference_lists_every_transform_with_its_arguments():
    page = (Path(__file__).parents[1] / "docs/reference/observation-maps.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)(?:=[^`]*)?`", arguments) for name, arguments in rows}
    assert listed == {name: list(inspect.signature(function).parameters)[1:] for name, function in FUNCTIONS.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_transform_says_what_it_does_and_types_its_arguments(name):
    assert (FUNCTIONS[name].__doc__ or "").strip()
    try:
        Transform(name)
    except InvalidConfig as error:
        assert "missing key" in str(error)
