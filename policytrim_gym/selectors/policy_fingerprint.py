"""Which policy a controller was trained for, so that it is not used with another one by mistake."""

from __future__ import annotations

from dataclasses import dataclass, field

from policytrim_gym.config import check_fields
from policytrim_gym.errors import MismatchedSelector
from policytrim_gym.identity import PolicyIdentity
from policytrim_gym.spec import PolicySpec


@dataclass(frozen=True)
class PolicyFingerprint:
    """What tells a policy from another: its weights where they lie in a checkpoint folder, else its URI; and always its spec.

    A copied or renamed checkpoint folder is still the same policy. The execute horizon is left out: it is what a controller replaces.

    Args:
        chunk_size, action_dim: sizes of a chunk.
        action_kinds: "delta" or "position" for each dimension; None when unknown.
        observation_shapes: of each array that the policy needs; None in a shape fits any length.
        needs_instruction: whether the policy reads the instruction.
        uri: that the policy was loaded from; None for a live one, of which only the spec is known.
        weights_sha256: of the folder's model.safetensors; None without such a file.

    >>> fingerprint = PolicyFingerprint.of(PolicySpec(chunk_size=8, action_dim=2), "python:my_robot:make_policy")
    >>> fingerprint.check_uri("python:my_robot:make_policy")
    >>> fingerprint.check_spec(PolicySpec(chunk_size=16, action_dim=2))
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.MismatchedSelector: the selector was trained for a policy with chunk_size 8, this one has 16
    """

    chunk_size: int
    action_dim: int
    action_kinds: tuple[str, ...] | None = None
    observation_shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    needs_instruction: bool = False
    uri: str | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, spec: PolicySpec, policy_uri: str | None) -> PolicyFingerprint:
        """Returns the fingerprint of a policy, from its spec and, where it has one, its URI."""
        identity = PolicyIdentity.of(policy_uri)
        return cls(
            chunk_size=spec.chunk_size,
            action_dim=spec.action_dim,
            action_kinds=spec.action_kinds,
            observation_shapes=dict(spec.observation_shapes),
            needs_instruction=spec.needs_instruction,
            uri=identity.uri,
            weights_sha256=identity.weights_sha256,
        )

    @property
    def spec(self) -> PolicySpec:
        """The spec as far as it is recorded."""
        return PolicySpec(
            chunk_size=self.chunk_size,
            action_dim=self.action_dim,
            observation_shapes=self.observation_shapes,
            needs_instruction=self.needs_instruction,
            action_kinds=self.action_kinds,
        )

    def check_spec(self, spec: PolicySpec) -> None:
        """Raises MismatchedSelector, naming the first difference, unless the spec is that of the same policy."""
        other = PolicyFingerprint.of(spec, None)
        for name in ("chunk_size", "action_dim", "action_kinds", "observation_shapes", "needs_instruction"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise MismatchedSelector(f"the selector was trained for a policy with {name} {mine}, this one has {theirs}")

    def check_uri(self, policy_uri: str) -> None:
        """Raises MismatchedSelector unless the URI leads to the same policy; without a recorded URI, all do."""
        mine, theirs = PolicyIdentity(self.uri, self.weights_sha256), PolicyIdentity.of(policy_uri)
        if not mine.is_same(theirs):
            raise MismatchedSelector(f"the selector was trained for the policy {mine}, got {theirs}")
