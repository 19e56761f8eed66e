"""What a training began from: a run folder goes on with nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policytrim_gym.config import check_fields
from policytrim_gym.differences import first_difference
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.selectors.policy_fingerprint import weights_sha256


@dataclass(frozen=True)
class Origin:
    """The entering policy and the environment, as far as they can be written down.

    Args:
        env: name of the environment, without the module that registers it.
        env_kwargs: of that environment; a value that JSON does not know counts by its type.
        policy: URI that the policy was loaded from; None for a live one, which is not compared.
        weights_sha256: of the weights in a checkpoint folder; a copied or renamed folder is the same policy.

    >>> Origin("Line-v0", {"goal": 1}).difference(Origin("Line-v0", {"goal": 2}))
    'env_kwargs.goal=1, now it is 2'
    """

    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    policy: str | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, factory: EnvFactory, policy_uri: str | None) -> Origin:
        """Returns the origin of a training of the policy at `policy_uri` in the factory's environment."""
        return cls(factory.name, plain_kwargs(factory.kwargs), policy_uri, None if policy_uri is None else weights_sha256(policy_uri))

    def difference(self, now: Origin) -> str | None:
        """Returns in words how a present origin differs from this one, which was written down; None when it is the same."""
        if self.policy is not None and now.policy is not None:
            same = self.weights_sha256 == now.weights_sha256 if self.weights_sha256 or now.weights_sha256 else self.policy == now.policy
            if not same:
                return f"policy={_shown(self)}, now it is {_shown(now)}"
        return first_difference(
            {"env": self.env, "env_kwargs": comparable_kwargs(self.env_kwargs)},
            {"env": now.env, "env_kwargs": comparable_kwargs(now.env_kwargs)},
        )


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


def _shown(origin: Origin) -> str:
    return f"{origin.policy!r}" if origin.weights_sha256 is None else f"{origin.policy!r} (weights {origin.weights_sha256[:12]})"
