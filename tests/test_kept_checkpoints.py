"""Laws of the checkpoints that come with the repository."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policies.loading import load_policy

FOLDER = Path(__file__).resolve().parents[1] / "checkpoints"
ROWS = re.findall(r"^\| \[([\w/-]+)\]\(\1\).*`([0-9a-f]{64})`", (FOLDER / "README.md").read_text(), re.MULTILINE)


def test_every_checkpoint_is_listed() -> None:
    assert {name for name, _ in ROWS} == {str(path.parent.relative_to(FOLDER)) for path in FOLDER.rglob("model.safetensors")} != set()


@pytest.mark.parametrize(("name", "digest"), ROWS)
def test_a_checkpoint_is_the_listed_one_small_and_loads(name: str, digest: str) -> None:
    weights = FOLDER / name / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == digest
    assert weights.stat().st_size < 5e6
    facts = load_facts(FOLDER / name)
    assert facts is not None and facts.execute_horizon == load_policy(str(FOLDER / name)).spec.horizon
