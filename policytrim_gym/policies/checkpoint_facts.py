"""`policytrim.json`: what a checkpoint knows beside its weights."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from policytrim_gym.chunk import check_horizon
from policytrim_gym.config import check_fields, from_mapping, to_mapping
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig
from policytrim_gym.files import write_json_atomic
from policytrim_gym.policies.proof import Proof, RunSetting, UnprovenSetting, check_date, unproven_settings

FILE_NAME = "policytrim.json"
SCHEMA = "policytrim.checkpoint/1"


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
        tasks: names of the environment's tasks; None when it has no names or the file is an older one, like the next two.
        control_dt_s: time between two actions [s].
        chunk_size: H, actions of one prediction.
        inference_delay_steps: that the horizon was validated with [steps].
        playback_rate: that it was validated with.
        proven_on: day in UTC of the validation that chose it, such as "2026-11-26"; None before a trim.
        proofs: on test states, one for each setting.

    Raises:
        InvalidConfig: a field of another type or out of range.
        InvalidHorizon: a horizon outside 1..chunk_size.

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
    tasks: tuple[str, ...] | None = None
    control_dt_s: float | None = None
    chunk_size: int | None = None
    inference_delay_steps: int = 0
    playback_rate: float = 1.0
    proven_on: str | None = None
    proofs: tuple[Proof, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("execute_horizon", 1), ("chunk_size", 1), ("inference_delay_steps", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidConfig(f"{name} must be at least {least}, got {value}")
        if self.chunk_size is not None:
            check_horizon(self.execute_horizon, self.chunk_size)
        if self.proven_on is not None:
            check_date("proven_on", self.proven_on)

    @property
    def setting(self) -> RunSetting:
        """Where and how the policy is meant to be run."""
        names = ("env", "env_kwargs", "tasks", "control_dt_s", "chunk_size", "execute_horizon", "inference_delay_steps", "playback_rate")
        return RunSetting(**{name: getattr(self, name) for name in names})

    @property
    def proven_settings(self) -> tuple[RunSetting, ...]:
        """The settings for which there is evidence, on validation or on test states.

        An evaluation on test states counts unless its success is below that of the validation, or it had too few episodes to say.
        """
        validation = (self.evidence or {}).get("validation") or {}
        wanted = validation.get("validation_success") or 0.0
        own = (self.setting,) if validation else ()
        return (*own, *(proof.setting for proof in self.proofs if proof.shows(wanted)))

    def with_proof(self, proof: Proof) -> CheckpointFacts:
        """Returns the facts with a proof in place of an older one at its setting, and without those of other weights."""
        return replace(self, proofs=(*self.proofs_of(proof.weights_sha256, besides=proof.setting), proof))

    def proofs_of(self, weights_sha256: str | None, besides: RunSetting | None = None) -> tuple[Proof, ...]:
        """Returns the proofs of these weights, but for the one at the setting `besides`."""
        return tuple(proof for proof in self.proofs if proof.weights_sha256 == weights_sha256 and proof.setting != besides)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes policytrim.json into a checkpoint folder.

        Raises:
            CannotWrite: the file could not be written; what stood there is untouched.
        """
        write_json_atomic(Path(folder) / FILE_NAME, {"schema": SCHEMA, **to_mapping(self)})


def load_facts(folder: str | os.PathLike[str], chunk_size: int | None = None) -> CheckpointFacts | None:
    """Reads policytrim.json of a checkpoint folder; None when there is none, as in a checkpoint made elsewhere.

    Args:
        folder: of the checkpoint.
        chunk_size: of the policy in it, which the horizon must fit; None is not checked.

    Raises:
        CorruptCheckpoint: the file is there, but not readable, of another schema or with other keys, or its horizon is longer than the
            policy's chunks; the message names it.
    """
    path = Path(folder) / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values.pop("schema", SCHEMA) if isinstance(values, dict) else SCHEMA  # older files name none
        if schema != SCHEMA:
            raise InvalidConfig(f"schema must be {SCHEMA!r}, got {schema!r}: another version of policytrim wrote it")
        facts = from_mapping(CheckpointFacts, values)
        if chunk_size is not None:
            check_horizon(facts.execute_horizon, chunk_size)
        return facts
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # our own errors of a bad value are ValueErrors
        raise CorruptCheckpoint(f"{path} is not readable: {error}") from error


def warn_unproven(folder: str | os.PathLike[str], present: RunSetting, env_defaults: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Warns, by one UnprovenSetting a difference, when a checkpoint with proof is run otherwise than it was proven.

    Args:
        folder: of the checkpoint, or a policy's URI: what is no folder with a policytrim.json says nothing.
        present: how it is run.
        env_defaults: what the environment takes for arguments that are not given.

    Raises:
        CorruptCheckpoint: policytrim.json is not readable.
    """
    facts = load_facts(folder)
    for line in () if facts is None else unproven_settings(facts.proven_settings, present, env_defaults):
        warnings.warn(f"{folder}: {line}", UnprovenSetting, stacklevel=2)
