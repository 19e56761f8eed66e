from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from line_env import CHUNK_SIZE, LineEnv, slow_policy
from test_trim_grpo import CONFIG

from policytrim_gym.errors import CannotWrite, InvalidConfig
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.identity import PolicyIdentity
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.model_card import write_facts
from policytrim_gym.policies.proof import Proof
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.grpo import TrimGRPO
from policytrim_gym.training.trim import trim

BUDGET = 5000


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    slow_policy().save_pretrained(str(folder))
    CheckpointFacts(2, "Line", demonstrations={"demonstrator": "slow", "tasks": {}}).save(folder)
    return folder


def run(base: Path, out: Path, **options: object) -> TrimGRPO:
    return trim(str(base), EnvFactory(LineEnv), out, CONFIG, BUDGET, load_facts(base), progress_bar=False, **options)  # type: ignore[arg-type]


def test_the_run_folder_is_the_best_checkpoint_with_its_evidence(base: Path, tmp_path: Path) -> None:
    trainer = run(base, tmp_path / "out")
    facts = load_facts(tmp_path / "out")
    assert facts is not None and facts.evidence is not None and facts.evidence["finished"]
    assert facts.demonstrations == {"demonstrator": "slow", "tasks": {}}
    policy = load_policy(str(tmp_path / "out"))
    assert policy.spec.horizon == facts.execute_horizon == trainer.state.execute_horizon
    with Evaluator(LineEnv, num_workers=0) as evaluator:
        arm = evaluator.evaluate(policy, policy.spec.horizon, CONFIG.validation_states, split="validation")
    assert arm.steps_mean_success == facts.evidence["validation"]["validation_steps"]
    assert f"Execute horizon: **{facts.execute_horizon}**" in (tmp_path / "out" / "README.md").read_text()
    chosen = [row["date"] for row in trainer.state.rows if row["stage"] == "horizon" or row.get("is_best")]
    assert facts.proven_on == chosen[-1] and facts.evidence["validation"]["validation_episodes"] == CONFIG.validation_states
    stage1 = load_facts(tmp_path / "out" / "stage1")
    assert stage1 is not None and stage1.evidence is not None and (stage1.env, stage1.env_kwargs) == (facts.env, facts.env_kwargs)
    assert load_policy(str(tmp_path / "out" / "stage1")).spec.horizon == stage1.execute_horizon
    assert json.loads((tmp_path / "out" / "training.json").read_text()) == trainer.state.rows
    weights = PolicyIdentity.of(str(tmp_path / "out")).weights_sha256
    for weights_sha256, count in ((weights, 1), ("of others", 0)):  # the same command on a finished run writes the folder again
        proof = Proof(facts.setting, 10, 0, 1.0, (0.7, 1.0), 20.0, 3.0, "2026-11-26", weights_sha256)
        write_facts(tmp_path / "out", facts.with_proof(proof))
        run(base, tmp_path / "out")
        again = load_facts(tmp_path / "out")
        assert again == replace(facts, proofs=(proof,) * count)


def test_a_stopped_run_keeps_a_loadable_checkpoint_and_goes_on(base: Path, tmp_path: Path) -> None:
    run(base, tmp_path / "out", callback=lambda trainer: trainer.state.num_validations < 1)
    facts = load_facts(tmp_path / "out")
    assert facts is not None and facts.evidence is not None and not facts.evidence["finished"]
    policy = load_policy(str(tmp_path / "out"))
    # Stage 1 validates whole chunks, before the horizon is chosen: what the evidence is for is what all files name.
    steps = json.loads((tmp_path / "out" / "config.json").read_text())["n_action_steps"]
    assert policy.spec.horizon == facts.execute_horizon == facts.evidence["validation"]["execute_horizon"] == steps == CHUNK_SIZE
    assert run(base, tmp_path / "out").state.phase == "done"


def test_the_base_is_not_overwritten(base: Path) -> None:
    before = (base / "model.safetensors").read_bytes()
    with pytest.raises(InvalidConfig, match="must not be the folder of the policy"):
        run(base, base)
    assert (base / "model.safetensors").read_bytes() == before


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_goes_on_with_the_same_policy_and_environment_only(base: Path, tmp_path: Path) -> None:
    def stop(trainer: TrimGRPO) -> bool:
        return False

    run(base, tmp_path / "out", callback=stop)
    slow_policy(seed=1).save_pretrained(str(tmp_path / "other"))
    before = content_of(tmp_path / "out")
    with pytest.raises(InvalidConfig, match=r"policy='.*base' \(weights \w+\), now it is '.*other'"):
        run(tmp_path / "other", tmp_path / "out", callback=stop)
    with pytest.raises(InvalidConfig, match="env='LineEnv', now it is '<lambda>'"):
        trim(str(base), EnvFactory(lambda: LineEnv()), tmp_path / "out", CONFIG, BUDGET, progress_bar=False)
    assert content_of(tmp_path / "out") == before
    run(base.rename(tmp_path / "renamed"), tmp_path / "out", callback=stop)


@pytest.mark.parametrize("name", ["model.safetensors", "policytrim.json", "config.yaml"])
def test_a_folder_with_something_else_is_left_as_it_is(base: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("tasks: [reach-v3]")
    with pytest.raises(InvalidConfig, match="use another folder"):
        run(base, out)
    assert content_of(out) == {name: b"tasks: [reach-v3]"}


def test_a_run_that_died_before_its_first_state_begins_again(base: Path, tmp_path: Path) -> None:
    run(base, tmp_path / "out", callback=lambda trainer: False)
    for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    assert run(base, tmp_path / "out", callback=lambda trainer: False).state.rows


def test_a_run_goes_on_with_another_number_of_workers_and_in_other_blocks(tmp_path: Path) -> None:
    TrimGRPO(slow_policy(), LineEnv, CONFIG, tmp_path).learn(BUDGET, lambda trainer: False)
    assert TrimGRPO(slow_policy(), LineEnv, replace(CONFIG, num_workers=1, max_chunks_per_pass=8), tmp_path).state.rows


def test_a_folder_that_cannot_be_written_is_a_clear_error(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CannotWrite, match="could not write"):
        run(base, tmp_path / "file" / "out")


def test_without_initial_states_the_splits_have_other_seeds() -> None:
    with Evaluator(LineEnv, num_workers=0) as evaluator:
        seeds = [{request.seed for request in evaluator.requests(2, 50, split, 0)} for split in ("train", "validation", "test")]
    assert len(set.union(*seeds)) == 150


def test_a_checkpoint_remembers_the_module_that_registers_its_environment() -> None:
    assert EnvFactory("my_package:My/Env-v0").id == "my_package:My/Env-v0"
    assert EnvFactory("my_package:My/Env-v0").name == "My/Env-v0"
