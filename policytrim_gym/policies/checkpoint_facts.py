"""`policytrim.json`: what a checkpoint knows beside its weights."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policytrim_gym.config import check_fields, from_mapping, to_mapping
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig
from policytrim_gym.files import write_json_atomic

FILE_NAME = "policytrim.json"


@dataclass(frozen=True)
class CheckpointFacts:
    """Where a policy comes from, and the horizon that it was proven at.

    Args:
        execute_horizon: stock horizon of a clone, proven one of a trimmed policy [steps].
        env: Gymnasium id that it was made for; commands take it as their default.
        env_kwargs: of that environment.
        demonstrations: who demonstrated, and how many were kept and failed; None when it was not cloned here.
        settings: of the command that made it.
        evidence: for the horizon, such as success rates on validation states; None before a trim.

    >>> facts = CheckpointFacts(8, "PolicyTrim/MetaWorld-v0", {"tasks": ["reach-v3"]})
    >>> from_mapping(CheckpointFacts, to_mapping(facts)) == facts
    True
    """

    execute_horizon: int
    env: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    demonstrations: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None
    evidence: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes policytrim.json into a checkpoint folder.

        Raises:
            CannotWrite: the file could not be written; what stood there is untouched.
        """
        write_json_atomic(Path(folder) / FILE_NAME, to_mapping(self))


def load_facts(folder: str | os.PathLike[str]) -> CheckpointFacts | None:
    """Reads policytrim.json of a checkpoint folder; None when there is none, as in a checkpoint made elsewhere.

    Raises:
        CorruptCheckpoint: the file is there, but not readable or with other keys; the message names it.
    """
    path = Path(folder) / FILE_NAME
    try:
        return from_mapping(CheckpointFacts, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, InvalidConfig) as error:
        raise CorruptCheckpoint(f"{path} is not readable: {error}") from error
