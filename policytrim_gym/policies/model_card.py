"""The README.md of a checkpoint folder: what the policy is, where it comes from, what proves its horizon."""

from __future__ import annotations

import os
from pathlib import Path

from policytrim_gym.files import write_atomic
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts

FILE_NAME = "README.md"


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
    lines = ["---", "library_name: policytrim", "tags: [robotics, action-chunking]", "---", "", "# Chunked policy", ""]
    lines += [f"Execute horizon: **{facts.execute_horizon}** actions of each chunk before the policy is asked again.", ""]
    if facts.env is not None:
        lines += [f"Environment: `{facts.env}` {facts.env_kwargs or ''}".rstrip(), ""]
    if facts.demonstrations is not None:
        lines += [f"Cloned from the **{facts.demonstrations.get('demonstrator')}** scripted expert:", "", *_demonstration_table(facts), ""]
    if facts.evidence is not None:
        lines += ["Evidence, on validation states (the final proof belongs on test states: `policytrim evaluate`):", ""]
        validation = facts.evidence.get("validation") or {}
        lines += [f"- {key.removeprefix('validation_')}: {_number(value)}" for key, value in validation.items()]
        lines += [f"- success floor: {_number(facts.evidence.get('success_floor'))}"]
        lines += [f"- physical training steps: {facts.evidence.get('timesteps')}", ""]
    lines += ['Load it: `policytrim_gym.load_policy("this folder")`.', ""]
    return "\n".join(lines)


def _demonstration_table(facts: CheckpointFacts) -> list[str]:
    tasks = (facts.demonstrations or {}).get("tasks", {})
    rows = [f"| {task} | {counts['kept']} | {counts['failed']} | {counts['steps_mean']:.0f} |" for task, counts in tasks.items()]
    return ["| task | kept | failed | mean steps |", "|---|---|---|---|", *rows]


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
