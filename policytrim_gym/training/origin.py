"""What a training began from: a run folder goes on with nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from policytrim_gym.config import check_fields
from policytrim_gym.differences import first_difference
from policytrim_gym.identity import PolicyIdentity, comparable_env_id, comparable_kwargs, plain_kwargs
from policytrim_gym.rollouts.env_factory import EnvFactory


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
        return cls(factory.name, plain_kwargs(factory.kwargs), *PolicyIdentity.of(policy_uri))

    def difference(self, now: Origin) -> str | None:
        """Returns in words how a present origin differs from this one, which was written down; None when it is the same."""
        mine, theirs = (PolicyIdentity(origin.policy, origin.weights_sha256) for origin in (self, now))
        if not mine.is_same(theirs):
            return f"policy={mine}, now it is {theirs}"
        return first_difference(
            {"env": comparable_env_id(self.env), "env_kwargs": comparable_kwargs(self.env_kwargs)},
            {"env": comparable_env_id(now.env), "env_kwargs": comparable_kwargs(now.env_kwargs)},
        )
