"""The README.md of a checkpoint folder: what the policy is, where it comes from, what proves its horizon."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CannotWrite
from policytrim_gym.files import write_atomic
from policytrim_gym.policies.action_steps import lerobot_option
from policytrim_gym.policies.checkpoint_facts import FILE_NAME as FACTS_FILE
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.proof import Proof

FILE_NAME = "README.md"
_FRONT_MATTER = ("---", "library_name: policytrim", "tags: [robotics, action-chunking]", "---")


def write_facts(folder: str | os.PathLike[str], facts: CheckpointFacts) -> None:
    """Writes policytrim.json and the model card into a checkpoint folder, each whole or not at all.

    Raises:
        CannotWrite: a file could not be written; what stood there is untouched.
    """
    facts.save(folder)
    write_model_card(folder, facts)


def remove_facts(folder: str | os.PathLike[str]) -> None:
    """Removes policytrim.json and the model card, which say nothing of the weights that are about to replace those in the folder.

    A README.md that somebody else wrote stays; ours is known by how it begins.

    Raises:
        CannotWrite: a file cannot be removed.
    """
    card = Path(folder) / FILE_NAME
    try:
        (Path(folder) / FACTS_FILE).unlink(missing_ok=True)
        if card.is_file() and card.read_text(encoding="utf-8", errors="replace").startswith("\n".join(_FRONT_MATTER)):
            card.unlink()
    except OSError as error:
        raise CannotWrite(f"{folder}: what was said of the weights before cannot be removed: {error.strerror or error}") from error


def write_model_card(folder: str | os.PathLike[str], facts: CheckpointFacts) -> None:
    """Writes the model card, whole or not at all.

    Raises:
        CannotWrite: the file could not be written; what stood there is untouched.
    """
    write_atomic(Path(folder) / FILE_NAME, model_card(facts))


def model_card(facts: CheckpointFacts) -> str:
    """Returns the card as Markdown.

    >>> print(model_card(CheckpointFacts(8, "PolicyTrim/MetaWorld-v0")).splitlines()[7])
    Execute horizon: **8** actions of each chunk before the policy is asked again.
    """
    evidence, demonstrations = facts.evidence or {}, facts.demonstrations or {}
    title = "Trimmed policy" if evidence else "Cloned policy" if demonstrations else "Chunked policy"
    lines = [*_FRONT_MATTER, "", f"# {title}", ""]
    if evidence:
        lines += [_origin(evidence), ""]
    lines += [f"Execute horizon: **{facts.execute_horizon}** actions of each chunk before the policy is asked again.", ""]
    lines += [f"In LeRobot's words: `{lerobot_option(facts.execute_horizon)}`; config.json has it too.", ""]
    if facts.env is not None:
        lines += [f"Environment: `{facts.env}` {facts.env_kwargs or ''}".rstrip(), ""]
    if evidence:
        lines += ["Evidence, on validation states (the final proof belongs on test states: `policytrim evaluate --write-proof`):", ""]
        lines += [*_setting_lines(facts), *_evidence_lines(evidence), ""]
    for proof in facts.proofs:
        lines += [*_proof_lines(proof), ""]
    if demonstrations:
        whose = "The policy that was trimmed is cloned" if evidence else "Cloned"
        lines += [
            f"{whose} from the **{demonstrations.get('demonstrator')}** scripted expert:",
            "",
            *_demonstration_table(demonstrations),
            "",
        ]
    lines += ['Load it: `policytrim_gym.load_policy("this folder")`.', ""]
    return "\n".join(lines)


def _origin(evidence: Mapping[str, Any]) -> str:
    """Returns in one sentence what the policy was trimmed from, and how far the training is."""
    source = evidence.get("trimmed_from")
    what = "Trimmed" if source is None else f"Trimmed from `{source}`"
    if evidence.get("stage") == "stage1":
        return f"{what}: the weights that stage 1 ended with, before stage 2."
    return f"{what}." if evidence.get("finished") else f"{what}; the training has not finished."


def _setting_lines(facts: CheckpointFacts) -> list[str]:
    """Returns what the evidence is for, as far as the checkpoint knows it."""
    values = {
        "proven on": facts.proven_on,
        "tasks": None if facts.tasks is None else ", ".join(facts.tasks),
        "chunk size": facts.chunk_size,
        "control dt [s]": None if facts.control_dt_s is None else f"{facts.control_dt_s:g}",
        "inference delay [steps]": facts.inference_delay_steps,
        "playback rate": f"{facts.playback_rate:g}",
    }
    return [f"- {name}: {value}" for name, value in values.items() if value is not None]


def _proof_lines(proof: Proof) -> list[str]:
    """Returns a proof on test states as a sentence and its figures."""
    setting = proof.setting
    low, high = proof.success_rate_ci95
    lines = [
        f"Proof on {proof.num_episodes:,} test episodes (seed {proof.seed}) of {proof.proven_on}:",
        "",
        f"- environment: `{setting.env}` {setting.env_kwargs or ''}".rstrip(),
        f"- execute horizon: {setting.execute_horizon}; playback rate: {setting.playback_rate:g}; "
        f"inference delay [steps]: {setting.inference_delay_steps}",
        f"- success: {proof.success_rate:.1%} [{low:.1%}, {high:.1%}]",
    ]
    if proof.steps_mean_success is not None and proof.num_replans_mean_success is not None:
        lines.append(f"- of successes: {proof.steps_mean_success:.1f} steps, {proof.num_replans_mean_success:.2f} calls")
    return lines


def _evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    values = {key.removeprefix("validation_"): value for key, value in (evidence.get("validation") or {}).items()}
    values["success floor"] = evidence.get("success_floor")
    values["physical training steps"] = evidence.get("timesteps")
    return [f"- {key.replace('_', ' ')}: {_shown(key, value)}" for key, value in values.items()]


def _demonstration_table(demonstrations: Mapping[str, Any]) -> list[str]:
    tasks = demonstrations.get("tasks", {})
    rows = [f"| {task} | {counts['kept']} | {counts['failed']} | {counts['steps_mean']:.0f} |" for task, counts in tasks.items()]
    return ["| task | kept | failed | mean steps |", "|---|---|---|---|", *rows]


def _shown(key: str, value: object) -> str:
    """Returns a value as a reader wants it: a success as a percentage, a mean with its decimals, a count with its thousands."""
    if value is None:
        return "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(_shown(key, item) for item in value)}]"
    if isinstance(value, (int, float)) and key.startswith("success"):
        return f"{value:.1%}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
