"""The model card says first what a policy is and what it was made from."""

from __future__ import annotations

from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.model_card import model_card
from policytrim_gym.policies.proof import Proof, RunSetting

DEMONSTRATIONS = {"demonstrator": "slow-uneven", "tasks": {"reach-v3": {"kept": 40, "failed": 2, "steps_mean": 71.4}}}
EVIDENCE = {
    "trimmed_from": "runs/base",
    "finished": True,
    "validation": {"execute_horizon": 32, "validation_success": 1.0, "validation_steps": 63.04, "validation_calls": 2},
    "success_floor": 0.98,
    "timesteps": 200_512,
}


def test_a_trimmed_policy_is_not_introduced_as_a_clone() -> None:
    card = model_card(CheckpointFacts(32, "A-v0", demonstrations=DEMONSTRATIONS, evidence=EVIDENCE))
    order = ["# Trimmed policy", "Trimmed from `runs/base`.", "Evidence", "The policy that was trimmed is cloned from the **slow-uneven**"]
    assert [card.index(text) for text in order] == sorted(card.index(text) for text in order)
    for line in ("success: 100.0%", "success floor: 98.0%", "steps: 63.04", "calls: 2", "physical training steps: 200,512"):
        assert f"- {line}\n" in card


def test_a_card_says_what_is_not_final() -> None:
    assert "the training has not finished" in model_card(CheckpointFacts(32, evidence={**EVIDENCE, "finished": False}))
    assert "the weights that stage 1 ended with" in model_card(CheckpointFacts(32, evidence={**EVIDENCE, "stage": "stage1"}))


def test_a_clone_names_its_demonstrator() -> None:
    card = model_card(CheckpointFacts(8, "A-v0", demonstrations=DEMONSTRATIONS))
    assert "# Cloned policy" in card and "Cloned from the **slow-uneven** scripted expert" in card
    assert "| reach-v3 | 40 | 2 | 71 |" in card and "Trimmed" not in card


def test_a_card_says_what_was_proven_where_and_when() -> None:
    setting = RunSetting("A-v0", execute_horizon=24, inference_delay_steps=3, playback_rate=1.0)
    proof = Proof(setting, 1800, 7, 0.925, (0.9119, 0.9363), 53.04, 2.5, "2026-11-27")
    facts = CheckpointFacts(
        24, "A-v0", evidence=EVIDENCE, tasks=("reach", "push"), control_dt_s=0.05, chunk_size=32, proven_on="2026-11-26"
    )
    card = model_card(facts.with_proof(proof))
    assert "`--policy.n_action_steps=24`" in card
    for line in ("proven on: 2026-11-26", "tasks: reach, push", "control dt [s]: 0.05", "inference delay [steps]: 0", "chunk size: 32"):
        assert f"- {line}\n" in card
    own = card[card.index("Proof on 1,800 test episodes (seed 7) of 2026-11-27:") :]
    assert "- execute horizon: 24; playback rate: 1; inference delay [steps]: 3\n" in own
    assert "- success: 92.5% [91.2%, 93.6%]\n- of successes: 53.0 steps, 2.50 calls\n" in own


def test_an_interval_stands_beside_its_success() -> None:
    validation = {**EVIDENCE["validation"], "validation_success_ci95": [0.95, 1.0]}
    assert "- success ci95: [95.0%, 100.0%]\n" in model_card(CheckpointFacts(32, evidence={**EVIDENCE, "validation": validation}))
