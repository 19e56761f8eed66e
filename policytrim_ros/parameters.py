"""Between the parameters of a node and a typed config.

A node's settings are a frozen dataclass: defaults, descriptions (its docstring) and ranges stand in one place, and reach `ros2 param
describe`, the YAML in config/ and the documentation from there.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from policytrim_gym.config import field_descriptions, from_mapping
from policytrim_gym.errors import InvalidConfig

SettingsT = TypeVar("SettingsT")


def ranged(default: float, low: float, high: float) -> Any:
    """Returns a dataclass field with a default and the range that its value must be in, ends included."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


def check_ranges(settings: Any) -> None:
    """Checks the `ranged` fields of a config; for `__post_init__`, after `check_fields`.

    Raises:
        InvalidConfig: a value out of its range.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     rate_hz: float = ranged(20.0, 1.0, 100.0)
    >>> check_ranges(Settings(rate_hz=0.0))
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: rate_hz must be in 1..100, got 0.0
    """
    for field in dataclasses.fields(settings):
        low, high = field.metadata.get("range", (None, None))
        value = getattr(settings, field.name)
        if low is not None and not low <= value <= high:
            raise InvalidConfig(f"{field.name} must be in {low:g}..{high:g}, got {value}")


def declare_settings(node: Any, cls: type[SettingsT]) -> SettingsT:
    """Declares a parameter for each field of a config and returns the config of their values; they cannot be set while the node runs.

    Args:
        node: an rclpy node.
        cls: a frozen dataclass of bool, int, float, str and Literal fields, described in its docstring's "Args:".

    Raises:
        InvalidConfig: a value that the dataclass refuses, or a parameter that is none of its fields, which ROS would ignore.
        rclpy.exceptions.ParameterException: a value of another type, or out of its range.
    """
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        values[field.name] = node.declare_parameter(field.name, field.default, _descriptor(cls, field)).value
    return from_mapping(cls, values | _undeclared(node))


def _undeclared(node: Any) -> dict[str, Any]:
    """Returns what was given to the node and nobody declared; rclpy has no public name for it."""
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    return {name: value for name, value in given.items() if not node.has_parameter(name) and not name.startswith("qos_overrides.")}


def _descriptor(cls: type[Any], field: dataclasses.Field[Any]) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(name=field.name, description=field_descriptions(cls)[field.name], read_only=True)
    hint = get_type_hints(cls)[field.name]
    if get_origin(hint) is Literal:
        descriptor.additional_constraints = f"one of {get_args(hint)}"
    if "range" in field.metadata:
        low, high = field.metadata["range"]
        if hint is int:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    return descriptor
