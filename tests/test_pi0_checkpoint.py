"""Laws of a pi0's checkpoint folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from small_pi0 import pi0_observation, random_pi0
from transformers import PI0ForConditionalGeneration

from policytrim_gym.errors import CannotWrite, CorruptCheckpoint, MissingExtra
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.pi0 import Pi0Policy

FILES = ("config.json", "interface.json", "processor_config.json", "tokenizer.json", "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_pi0(seed=3, control_dt_s=0.05).save_pretrained(str(tmp_path / "run"))
    return tmp_path / "run"


def predictions(policy: Pi0Policy) -> list[np.ndarray]:
    return [chunk.actions for chunk in policy.predict_action_chunks([pi0_observation(index) for index in range(3)])]


def rewrite(folder: Path, name: str, **values) -> None:
    path = folder / name
    path.write_text(json.dumps({key: value for key, value in {**json.loads(path.read_text()), **values}.items() if value != "leave out"}))


def test_a_loaded_policy_predicts_the_same_bits(folder: Path) -> None:
    policy = random_pi0(seed=3, control_dt_s=0.05)
    policy.set_execute_horizon(2)
    policy.save_pretrained(str(folder))
    loaded = load_policy(str(folder))
    assert isinstance(loaded, Pi0Policy)
    np.testing.assert_array_equal(predictions(loaded), predictions(policy))
    assert loaded.spec == policy.spec
    assert loaded.spec.horizon == 2
    for name, value in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_transformers_takes_the_horizon_by_lerobots_name(folder: Path) -> None:
    for horizon in (2, 6):
        policy = load_policy(str(folder))
        assert isinstance(policy, Pi0Policy)
        policy.set_execute_horizon(horizon)
        policy.save_pretrained(str(folder))
        model, report = PI0ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
        assert model.config.n_action_steps == horizon == load_policy(str(folder)).spec.horizon
        assert not report["missing_keys"] and not report["unexpected_keys"]


def test_a_horizon_of_the_users_own_choice_needs_no_second_name(folder: Path) -> None:
    rewrite(folder, "config.json", n_action_steps="leave out")
    rewrite(folder, "interface.json", execute_horizon=3)
    assert load_policy(str(folder)).spec.horizon == 3


def test_the_folder_holds_whole_files_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "tokenizer_config.json"])


def test_adapters_are_merged_into_a_checkpoint_of_the_library(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    policy = random_pi0(trainable="lora", lora_rank=2)
    with torch.no_grad():
        for index, parameter in enumerate(policy.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    policy.save_pretrained(str(tmp_path))
    np.testing.assert_allclose(predictions(load_policy(str(tmp_path))), predictions(policy), atol=1e-5)
    assert not np.allclose(predictions(policy), predictions(random_pi0()), atol=1e-3)
    _, report = PI0ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


def test_a_folder_that_cannot_be_written_is_named_and_stays(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CannotWrite, match="could not write .*config.json"):
        random_pi0().save_pretrained(str(folder / "config.json"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", FILES)
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
    ("name", "values", "words"),
    [
        ("processor_config.json", {"actions_std": None}, "lacks actions_std: it holds the statistics"),
        ("processor_config.json", {"state_mean": "leave out"}, "lacks state_mean"),
        ("processor_config.json", {"state_mean": [0.0]}, r"as many numbers as mean \(1\), got 3"),
        ("processor_config.json", {"state_std": [1.0, -1.0, 1.0]}, "std must not be negative"),
        ("processor_config.json", {"state_mean": "zero"}, "mean must be a list .*got 'zero'"),
        ("processor_config.json", {"actions_mean": [0.0] * 9, "actions_std": [1.0] * 9}, "max_action_dim., got statistics of 9"),
        ("interface.json", {"cameras": []}, "cameras must be at least one name"),
        ("interface.json", {"camera": "front"}, 'unknown key "camera"'),
        ("interface.json", {"execute_horizon": 7}, "got 7"),
        ("interface.json", {"execute_horizon": 3}, "n_action_steps of config.json must be the execute_horizon 3, got 4"),
        ("interface.json", {"action_kinds": ["delta"]}, "action_kinds"),
        ("config.json", {"max_action_dim": 9}, "model.safetensors belongs to another architecture: mismatched keys .*action"),
        ("config.json", {"max_action_dim": "nine"}, "does not describe a pi0"),
        ("config.json", {"num_inference_steps": 1}, "num_inference_steps must be at least 2, got 1"),
        ("config.json", {"model_type": "llama"}, "model_type must be .*'pi0', got 'llama'"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder: Path, name: str, values: dict, words: str) -> None:
    rewrite(folder, name, **values)
    with pytest.raises(CorruptCheckpoint, match=words):
        load_policy(str(folder))


def test_fewer_layers_than_the_weights_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    rewrite(folder, "config.json", dit_config={**config["dit_config"], "num_hidden_layers": 1})
    with pytest.raises(CorruptCheckpoint, match="another architecture: unexpected keys model.dit.layers.1"):
        load_policy(str(folder))


@pytest.mark.parametrize(("module", "trainable"), [("transformers", "all"), ("peft", "lora")])
def test_a_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, trainable: str) -> None:
    rewrite(folder, "interface.json", trainable=trainable)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"{module}: pip install .policytrim\[vla\]"):
        load_policy(str(folder))
