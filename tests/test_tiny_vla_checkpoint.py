"""Laws of a tiny VLA's checkpoint folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from small_tiny_vla import small_tiny_vla, tiny_vla_observation

from policytrim_gym.errors import CannotWrite, CorruptCheckpoint, MissingExtra
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.tiny_vla.modeling import TinyVLAModel
from policytrim_gym.policies.tiny_vla.policy import TinyVLAPolicy

FILES = ("config.json", "tokenizer.json", "model.safetensors")


@pytest.fixture(params=["gaussian", "flow"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    small_tiny_vla(request.param, seed=3, control_dt_s=0.05).save_pretrained(str(tmp_path / "run"))
    return tmp_path / "run"


def predictions(policy: TinyVLAPolicy) -> list[np.ndarray]:
    return [chunk.actions for chunk in policy.predict_action_chunks([tiny_vla_observation(index) for index in range(3)])]


def rewrite(folder: Path, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("head", ["gaussian", "flow"])
def test_a_loaded_policy_predicts_the_same_bits(tmp_path: Path, head: str) -> None:
    policy = small_tiny_vla(head, control_dt_s=0.05)
    policy.set_execute_horizon(2)
    policy.save_pretrained(str(tmp_path))
    loaded = load_policy(str(tmp_path))
    assert isinstance(loaded, TinyVLAPolicy)
    np.testing.assert_array_equal(predictions(loaded), predictions(policy))
    assert loaded.spec == policy.spec
    assert loaded.spec.horizon == 2
    for name, value in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_transformers_reads_the_folder(folder: Path) -> None:
    model, report = TinyVLAModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert model.config.n_action_steps == 4 and tuple(model.config.cameras) == ("front", "wrist")


def test_the_folder_holds_whole_files_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "tokenizer_config.json"])


def test_a_folder_that_cannot_be_written_is_named_and_stays(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CannotWrite, match="could not write .*config.json"):
        small_tiny_vla("flow").save_pretrained(str(folder / "config.json"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", [*FILES, "tokenizer_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CorruptCheckpoint, match=f"{name} is missing"):
        load_policy(str(folder))


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.9999])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(folder: Path, name: str, part: float) -> None:
    content = (folder / name).read_bytes().rstrip()
    (folder / name).write_bytes(content[: int(part * len(content))])
    with pytest.raises(CorruptCheckpoint, match="tokenizer" if name == "tokenizer.json" else name):
        load_policy(str(folder))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cameras": []}, "cameras must be at least one name"),
        ({"head": "tokens"}, "head must be one of .*got 'tokens'"),
        ({"execute_horizon": 7}, "got 7"),
        ({"execute_horizon": 3}, "n_action_steps of config.json must be the execute_horizon 3, got 4"),
        ({"hidden_size": 16}, "model.safetensors belongs to another architecture: mismatched keys"),
        ({"image_size": "large"}, "image_size must be an integer of at least 32, got .large."),
        ({"vocab_size": 9}, "model.safetensors belongs to another architecture: mismatched keys .*words"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder: Path, values: dict, words: str) -> None:
    rewrite(folder, **values)
    with pytest.raises(CorruptCheckpoint, match=words):
        load_policy(str(folder))


@pytest.mark.parametrize("name", ["head", "image_size", "action_kinds"])
def test_nothing_of_the_config_is_guessed(folder: Path, name: str) -> None:
    """A default may fit the weights and still not be what they were trained with, such as the images' size."""
    path = folder / "config.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != name}))
    with pytest.raises(CorruptCheckpoint, match=f"config.json lacks {name}: what the weights were trained with cannot be guessed"):
        load_policy(str(folder))


def test_a_tokenizer_without_a_token_for_unknown_words_is_refused(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "unk_token"}))
    with pytest.raises(CorruptCheckpoint, match="the tokenizer must have a token for unknown words"):
        load_policy(str(folder))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    policy = load_policy(str(folder))
    next(policy.model.head.out.parameters()).data[0, 0] = value
    policy.save_pretrained(str(folder))
    with pytest.raises(CorruptCheckpoint, match=f"model.safetensors: weights must be finite, head.out.weight has {value}"):
        load_policy(str(folder))


def test_weights_of_the_other_head_are_refused(folder: Path) -> None:
    other = {"gaussian": "flow", "flow": "gaussian"}[json.loads((folder / "config.json").read_text())["head"]]
    rewrite(folder, head=other)
    with pytest.raises(CorruptCheckpoint, match=f"another architecture: missing keys head.*config.json is read as head: {other}"):
        load_policy(str(folder))


def test_a_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("policytrim_gym.policies.tiny_vla")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"transformers: pip install .policytrim\[vla\]"):
        load_policy(str(folder))
