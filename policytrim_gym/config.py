"""Typed configuration: frozen dataclasses from YAML or mappings, refusing what they do not know.

A misspelt option must not silently mean "default", and a text must not silently become a number. So unknown keys, wrong types, missing
keys and keys given twice are errors that name the place, the value received and what was expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from policytrim_gym.errors import InvalidConfig, MissingExtra

ConfigT = TypeVar("ConfigT")

_ENTRY = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.+(?:\n      +\S.*)*)", re.MULTILINE)


def from_mapping(cls: type[ConfigT], values: Mapping[str, Any], where: str = "") -> ConfigT:
    """Builds a config dataclass from a mapping, as a YAML or JSON file gives it.

    Nested dataclasses take nested mappings, tuples take lists, a float takes an integer; nothing else is converted. Supported field
    types: bool, int, float, str, Path, Any, None, Literal, Optional and unions, tuple[X, ...], tuple[X, Y], dict[str, X], dataclasses.

    Args:
        cls: a dataclass.
        values: one entry for each field that does not keep its default.
        where: path of this config inside a larger one, for messages.

    Raises:
        InvalidConfig: an unknown or missing key, or a value of another type; the message names the key, the value and the expectation.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     learning_rate: float = 1e-4
    ...     hidden: tuple[int, ...] = (64, 64)
    >>> from_mapping(Settings, {"learning_rate": 1, "hidden": [512]})
    Settings(learning_rate=1.0, hidden=(512,))
    >>> from_mapping(Settings, {"learnig_rate": 1})
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: unknown key "learnig_rate" in Settings; did you mean "learning_rate"?
    """
    name = where or cls.__name__
    if not isinstance(values, Mapping):
        raise InvalidConfig(f"{name} must be a mapping, got {_shown(values)}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise InvalidConfig(f'unknown key "{key}" in {name}; {_suggestion(str(key), list(fields))}')
    for key, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and key not in values:
            raise InvalidConfig(f'missing key "{key}" in {name}')
    hints = get_type_hints(cls)
    prefix = f"{where}." if where else ""
    return cls(**{key: _converted(hints[key], value, prefix + key) for key, value in values.items()})


def check_fields(config: Any) -> None:
    """Checks and converts the fields of a config made by its constructor, as `from_mapping` would; for `__post_init__`.

    Raises:
        InvalidConfig: a field of the wrong type.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     beta: float = 1.0
    ...     def __post_init__(self) -> None:
    ...         check_fields(self)
    >>> Settings(beta="1")
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.InvalidConfig: beta must be a float, got '1' (str)
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        # A frozen dataclass refuses setattr; this is the way its own __init__ takes.
        object.__setattr__(config, field.name, _converted(hints[field.name], getattr(config, field.name), field.name))


def to_mapping(config: Any) -> dict[str, Any]:
    """Returns a config as JSON- and YAML-ready values; `from_mapping` takes them back to an equal config.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings:
    ...     hidden: tuple[int, ...] = (64, 64)
    >>> to_mapping(Settings())
    {'hidden': [64, 64]}
    """
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config) if field.init}


def field_descriptions(cls: type[Any]) -> dict[str, str]:
    r"""Returns what the docstring of a config dataclass says about each of its fields, below "Args:", on one line each.

    >>> class Settings:
    ...     "How to learn.\n\n    Args:\n        first, second: of the same\n            kind [m]."
    >>> field_descriptions(Settings)
    {'first': 'of the same kind [m].', 'second': 'of the same kind [m].'}
    """
    arguments = inspect.cleandoc(cls.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    return {name.strip(): " ".join(entry["text"].split()) for entry in _ENTRY.finditer(arguments) for name in entry["names"].split(",")}


def parse_yaml(text: str) -> Any:
    """Returns the value of a YAML text; unlike plain PyYAML, `1e-4` is a number and a key given twice is an error.

    Raises:
        InvalidConfig: not YAML, or a duplicate key.
        MissingExtra: PyYAML is not installed.

    >>> parse_yaml("learning_rate: 1e-4")
    {'learning_rate': 0.0001}
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra('reading YAML needs PyYAML: pip install "policytrim[train]"') from error
    try:
        return yaml.load(text, Loader=_yaml_loader())  # a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidConfig(f"not valid YAML: {' '.join(str(error).split())}") from error


def load_yaml(cls: type[ConfigT], path: str | os.PathLike[str]) -> ConfigT:
    """Builds a config dataclass from a YAML file; an empty file gives all defaults.

    Raises:
        InvalidConfig: the file cannot be read, is not YAML, or `from_mapping` refuses it; the message names the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"could not read {path}: {error}") from error
    try:
        values = parse_yaml(text)
        return from_mapping(cls, {} if values is None else values)
    except InvalidConfig as error:
        raise InvalidConfig(f"{path}: {error}") from error


def dump_yaml(config: Any) -> str:
    """Returns a config as YAML text in the order of its fields; `load_yaml` takes it back."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra('writing YAML needs PyYAML: pip install "policytrim[train]"') from error
    return yaml.safe_dump(to_mapping(config), sort_keys=False)


def _converted(hint: Any, value: Any, where: str) -> Any:
    """Returns `value` as the type `hint`, or raises InvalidConfig."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _converted_union(arguments, value, where)
    if origin is tuple:
        return _converted_tuple(hint, arguments, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _mismatch(hint, value, where)
        return {key: _converted(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        # 1 == True == 1.0: an option is one only with its type.
        if not any(type(value) is type(option) and value == option for option in arguments):
            close = _closest(value, [str(option) for option in arguments]) if isinstance(value, str) else ""
            raise InvalidConfig(f"{where} must be {_described(hint)}, got {_shown(value)}{close and f'; {close}'}")
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)  # type: ignore[arg-type]
    return _converted_scalar(hint, value, where)


def _converted_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any or (hint in (None, type(None)) and value is None):
        return value
    is_bool = isinstance(value, (bool, np.bool_))
    if hint is bool and is_bool:
        return bool(value)
    if hint is int and isinstance(value, (int, np.integer)) and not is_bool:
        return int(value)
    if hint is float and isinstance(value, (int, float, np.integer, np.floating)) and not is_bool:
        if np.isnan(value):
            raise InvalidConfig(f"{where} must be a number, got nan")
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    raise _mismatch(hint, value, where)


def _converted_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    """Returns `value` as the first option that takes it; with one option beside None, that option's own message is the best one."""
    real = [option for option in options if option is not type(None)]
    if value is None and len(real) < len(options):
        return None
    if len(real) == 1 and (isinstance(value, Mapping) or get_origin(real[0]) is Literal):
        return _converted(real[0], value, where)
    for option in sorted(real, key=lambda option: option is not type(value)):  # an int stays an int in float | int
        try:
            return _converted(option, value, where)
        except InvalidConfig:
            continue
    raise _mismatch(Union[options], value, where)  # noqa: UP007 - built at run time


def _converted_tuple(hint: Any, arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _mismatch(hint, value, where)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise InvalidConfig(f"{where} must be {_described(hint)}, got {len(value)} values: {list(value)!r}")
    return tuple(_converted(argument, item, f"{where}[{index}]") for index, (argument, item) in enumerate(zip(arguments, value)))


def _mismatch(hint: Any, value: Any, where: str) -> InvalidConfig:
    return InvalidConfig(f"{where} must be {_described(hint)}, got {_shown(value)}")


def _shown(value: Any) -> str:
    return "None" if value is None else f"{value!r} ({type(value).__name__})"


def _described(hint: Any) -> str:
    """Returns a type in the words of a message."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (None, type(None)):
        return "None"
    if origin in (Union, types.UnionType):
        return " or ".join(_described(argument) for argument in arguments)
    if origin is Literal:
        return "one of " + ", ".join(repr(argument) for argument in arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a list with each item {_described(arguments[0])}"
        return "a list of " + ", ".join(_described(argument) for argument in arguments)
    if origin in (dict, Mapping):
        return f"a mapping with each value {_described(arguments[1])}"
    names = {bool: "true or false", int: "an integer", float: "a float", str: "a string", Path: "a path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _suggestion(key: str, known: list[str]) -> str:
    return _closest(key, known) or f"known: {', '.join(known)}"


def _closest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _yaml_loader() -> type:
    """Returns a SafeLoader that reads `1e-4` as YAML 1.2 does and refuses duplicate keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(None, None, f'key "{key_node.value}" is given twice', key_node.start_mark)
                seen.add(str(key_node.value))
            return super().construct_mapping(node, deep=deep)

    # PyYAML follows YAML 1.1, where a number with an exponent needs a dot and a sign.
    number = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return Loader
