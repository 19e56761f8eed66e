"""A policy's sizes as the metadata of an openpi server: what ours sends on connection, and what a client makes of it.

The protocol leaves the metadata to the server. Ours names `chunk_size`, `action_dim`, `execute_horizon`, `control_dt_s`, `action_kinds`,
`observation_shapes` ({key: [lengths, None for any]}) and `needs_instruction`; another server's may name any of them or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policytrim_gym.errors import InvalidSpec, ProtocolError
from policytrim_gym.spec import PolicySpec

SIZES = ("chunk_size", "action_dim")
NAMES = (*SIZES, "execute_horizon", "control_dt_s", "action_kinds")
"""What a client may also be told, for servers that do not say it."""


def metadata_of(spec: PolicySpec) -> dict[str, Any]:
    """Returns what our server says of a policy.

    >>> metadata_of(PolicySpec(chunk_size=8, action_dim=2))["execute_horizon"]
    8
    """
    return {
        **{name: getattr(spec, name) for name in NAMES},
        "action_kinds": None if spec.action_kinds is None else list(spec.action_kinds),
        "observation_shapes": {key: list(shape) for key, shape in spec.observation_shapes.items()},
        "needs_instruction": spec.needs_instruction,
    }


def known_facts(metadata: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a PolicySpec that are known: by the server, else by the caller, who also may choose the horizon.

    Args:
        metadata: of the server.
        given: by the caller, None where nothing was given.

    Raises:
        InvalidSpec: a size that the caller gave differently from the server.
        ProtocolError: metadata whose `observation_shapes` are none.

    >>> known_facts({"chunk_size": 8, "action_dim": 2, "execute_horizon": 4}, {"execute_horizon": 6})
    {'chunk_size': 8, 'action_dim': 2, 'execute_horizon': 6}
    """
    served = {name: metadata[name] for name in NAMES if metadata.get(name) is not None}
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in SIZES:
        if name in served and name in chosen and served[name] != chosen[name]:
            raise InvalidSpec(f"the server's {name} is {served[name]!r}, {chosen[name]!r} was given, here or in the observation map")
    horizon = {name: value for name, value in chosen.items() if name == "execute_horizon"}
    facts = {**chosen, **served, **horizon}
    if metadata.get("observation_shapes"):
        facts["observation_shapes"] = _shapes(metadata["observation_shapes"])
    if metadata.get("needs_instruction") is not None:
        facts["needs_instruction"] = bool(metadata["needs_instruction"])
    return {name: facts[name] for name in (*NAMES, "observation_shapes", "needs_instruction") if name in facts}


def _shapes(value: Any) -> dict[str, tuple[int | None, ...]]:
    is_map = isinstance(value, dict) and all(isinstance(key, str) and isinstance(shape, list) for key, shape in value.items())
    if not is_map or any(length is not None and type(length) is not int for shape in value.values() for length in shape):
        raise ProtocolError(f"observation_shapes of the server's metadata must be lists of lengths by key, got {value!r:.200}")
    return {key: tuple(shape) for key, shape in value.items()}
