"""When two policies or two environments are the same, as far as it can be written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from policytrim_gym.errors import CorruptCheckpoint
from policytrim_gym.run_folder import WEIGHTS_FILE


class PolicyIdentity(NamedTuple):
    """A policy by its weights, where they lie in a checkpoint folder, else by its URI.

    A copied or renamed checkpoint folder is still the same policy. `uri` is None for a live policy, `weights_sha256` for what is no folder.

    >>> PolicyIdentity("runs/base", "ab12").is_same(PolicyIdentity("runs/copy", "ab12"))
    True
    >>> PolicyIdentity("python:arm:make").is_same(PolicyIdentity("python:arm:make_other"))
    False
    """

    uri: str | None = None
    weights_sha256: str | None = None

    @classmethod
    def of(cls, uri: str | None) -> PolicyIdentity:
        """Returns the identity of the policy at a URI.

        Raises:
            CorruptCheckpoint: a folder without weights.
        """
        if uri is None or not Path(uri).is_dir():
            return cls(uri)
        weights = Path(uri) / WEIGHTS_FILE
        try:
            return cls(uri, hashlib.sha256(weights.read_bytes()).hexdigest())
        except OSError as error:
            raise CorruptCheckpoint(f"{weights} cannot be read: {error.strerror or error}") from error

    def is_same(self, other: PolicyIdentity) -> bool:
        """Returns whether the two are one policy; a live one, of which nothing is known, counts as any."""
        if self.uri is None or other.uri is None:
            return True
        if self.weights_sha256 is None and other.weights_sha256 is None:
            return self.uri == other.uri
        return self.weights_sha256 == other.weights_sha256

    def __str__(self) -> str:
        return repr(self.uri) if self.weights_sha256 is None else f"{self.uri!r} (weights {self.weights_sha256[:12]})"


def plain_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an environment's arguments as JSON holds them; a value that it does not know becomes the name of its type."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(kwargs), default=lambda value: type(value).__name__))
    return plain


def comparable_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments with one task alone as the list of it, which is the same environment.

    >>> comparable_kwargs({"tasks": "reach-v3"}) == comparable_kwargs({"tasks": ["reach-v3"]})
    True
    """
    tasks = kwargs.get("tasks")
    return {**kwargs, "tasks": [tasks]} if isinstance(tasks, str) else dict(kwargs)


def comparable_env_id(env_id: str | None) -> str | None:
    """Returns a Gymnasium id without the module to import first, which is the same environment.

    >>> comparable_env_id("policytrim_gym:PolicyTrim/Arm-v0")
    'PolicyTrim/Arm-v0'
    """
    return env_id and env_id.rpartition(":")[2]
