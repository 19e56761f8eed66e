"""Laws of checkpoint folders, and of what load_policy makes of a URI."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from small_policies import small_observation, small_state_policy, target_policy

from policytrim_gym.errors import CorruptCheckpoint, UnknownPolicy
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.state_checkpoint import load_state_policy
from policytrim_gym.policies.state_policy import StatePolicy

torch = pytest.importorskip("torch")

FILES = ("config.json", "tokenizer.json", "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_state_policy(seed=3).save_pretrained(str(tmp_path / "run"))
    return tmp_path / "run"


def predictions(policy: StatePolicy) -> list[np.ndarray]:
    return [chunk.actions for chunk in policy.predict_action_chunks([small_observation(index) for index in range(5)])]


def test_a_loaded_policy_predicts_the_same_bits(folder: Path) -> None:
    policy = small_state_policy(seed=3)
    policy.set_execute_horizon(2)
    policy.save_pretrained(str(folder))
    for loaded in (load_state_policy(str(folder)), load_policy(str(folder))):
        np.testing.assert_array_equal(predictions(loaded), predictions(policy))
        assert loaded.spec == policy.spec
        assert loaded.spec.horizon == 2
        assert loaded.tokenizer.words == policy.tokenizer.words
        for key, value in policy.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[key], value, rtol=0, atol=0)


def test_lerobots_name_of_the_horizon_is_the_same_number(folder: Path) -> None:
    policy = load_state_policy(str(folder))
    for horizon in (2, 6):
        policy.set_execute_horizon(horizon)
        policy.save_pretrained(str(folder))
        assert json.loads((folder / "config.json").read_text())["n_action_steps"] == horizon == load_policy(str(folder)).spec.horizon


def test_a_checkpoint_without_lerobots_name_still_loads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("n_action_steps") == config["execute_horizon"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_policy(str(folder)).spec.horizon == config["execute_horizon"]


def test_saving_what_was_loaded_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    load_policy(str(folder)).save_pretrained(str(tmp_path / "copy"))
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (folder / name).read_bytes() == (tmp_path / "copy" / name).read_bytes()


def test_saving_over_a_checkpoint_replaces_it(folder: Path) -> None:
    other = small_state_policy(seed=4)
    other.save_pretrained(str(folder))
    np.testing.assert_array_equal(predictions(load_policy(str(folder))), predictions(other))


@pytest.mark.parametrize("origins", [(3, 4, None), None], ids=str)
def test_a_policy_on_targets_comes_back_bit_for_bit(tmp_path: Path, origins: tuple[int | None, ...] | None) -> None:
    policy = target_policy(action_origins=origins)
    policy.save_pretrained(str(tmp_path / "run"))
    loaded = load_state_policy(str(tmp_path / "run"))
    assert loaded.config == policy.config
    np.testing.assert_array_equal(loaded.increments.scale, policy.increments.scale)
    np.testing.assert_array_equal(predictions(loaded), predictions(policy))


def test_a_checkpoint_from_before_there_were_origins_and_a_scale_is_the_same_policy(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("action_origins") is None
    (folder / "config.json").write_text(json.dumps(config))
    assert "action_scale" not in load_state_policy(str(folder)).state_dict()
    np.testing.assert_array_equal(predictions(load_state_policy(str(folder))), predictions(small_state_policy(seed=3)))


def test_targets_without_their_scale_are_refused(folder: Path, tmp_path: Path) -> None:
    target_policy().save_pretrained(str(tmp_path / "targets"))
    (tmp_path / "targets" / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(CorruptCheckpoint, match="model.safetensors.*another architecture.*must hold action_scale"):
        load_policy(str(tmp_path / "targets"))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CorruptCheckpoint, match=f"{name} is missing"):
        load_policy(str(folder))


@pytest.mark.parametrize("part", [0.0, 0.001, 0.01, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder: Path, name: str, part: float) -> None:
    content = (folder / name).read_bytes()
    stripped = content.rstrip()
    (folder / name).write_bytes(stripped[: int(part * len(stripped))])
    with pytest.raises(CorruptCheckpoint, match=name):
        load_policy(str(folder))


@pytest.mark.parametrize(
    "changes",
    [{"hidden_size": 32}, {"num_layers": 3}, {"state_size": 6}, {"action_dim": 2, "action_kinds": None}, {"chunk_size": 8}],
    ids=str,
)
def test_weights_of_another_architecture_are_refused(folder: Path, tmp_path: Path, changes: dict) -> None:
    small_state_policy(**changes).save_pretrained(str(tmp_path / "other"))
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(CorruptCheckpoint, match="model.safetensors is truncated or belongs to another architecture"):
        load_policy(str(folder))


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    policy = load_policy(str(folder))
    next(iter(policy.parameters())).data[0] = np.nan
    policy.save_pretrained(str(folder))
    with pytest.raises(CorruptCheckpoint, match="model.safetensors: weights must be finite, .* has nan"):
        load_policy(str(folder))


def rewrite_config(folder: Path, **values) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "llama"}, "model_type must be 'policytrim_state' or .* got 'llama'"),
        ({"model_type": None}, "got None"),
        ({"num_heads": 8}, "num_heads"),
        ({"hidden_size": -1}, "hidden_size.*got -1"),
        ({"hidden_size": "large"}, "hidden_size.*got 'large'"),
        ({"execute_horizon": 99, "n_action_steps": 99}, "got 99"),
        ({"n_action_steps": 3}, "n_action_steps of config.json must be the execute_horizon 4, got 3"),
        ({"action_kinds": ["delta"]}, "action_kinds"),
        ({"action_kinds": 3}, "config.json"),
        ({"action_origins": [0]}, "action_origins"),
        ({"action_origins": 3}, "config.json"),
        ({"control_dt_s": -1}, "control_dt_s.*got -1"),
    ],
)
def test_a_config_of_another_policy_is_refused(folder: Path, values: dict, words: str) -> None:
    rewrite_config(folder, **values)
    with pytest.raises(CorruptCheckpoint, match=words):
        load_policy(str(folder))


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", "7", '"text"', "\x00"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_json_that_holds_something_else_is_refused(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(CorruptCheckpoint, match=name):
        load_policy(str(folder))


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    for name in FILES:
        small_state_policy().save_pretrained(str(folder))
        (folder / name).write_bytes(bytes(range(128, 256)))
        with pytest.raises(CorruptCheckpoint, match=name):
            load_policy(str(folder))


def test_another_vocabulary_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(json.dumps({"type": "word", "words": ["one"]}))
    with pytest.raises(CorruptCheckpoint, match="another architecture"):
        load_policy(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps({"type": "bpe"}))
    with pytest.raises(CorruptCheckpoint, match="tokenizer.json.*words"):
        load_policy(str(folder))


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="config.json is missing: the folder holds no checkpoint"):
        load_policy(str(tmp_path))


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("no/such/folder", "no such checkpoint folder"),
        ("http://localhost:8000", "a policy server is ws://host:port"),
        ("python:json", "expected python:module:factory"),
        ("python::make", "expected python:module:factory"),
        ("python:no_such_module:make", "no_such_module"),
        ("python:json:make", "make"),
        ("python:builtins:dict", "must return a ChunkPolicy, got dict"),
    ],
)
def test_a_uri_that_names_nothing_is_refused(uri: str, words: str) -> None:
    with pytest.raises(UnknownPolicy, match=words):
        load_policy(uri)


def test_a_factory_of_the_users_own_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_policy.py").write_text(
        "from policytrim_gym.policy import CallablePolicy\n"
        "from policytrim_gym.spec import PolicySpec\n"
        "def make():\n"
        "    return CallablePolicy(lambda observation: [[0.5], [1.5]], PolicySpec(chunk_size=2, action_dim=1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_policy("python:my_policy:make").predict_action_chunk({}).actions.tolist() == [[0.5], [1.5]]
    del sys.modules["my_policy"]
