"""The options that several subcommands share: one name, one meaning, one help text."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from policytrim_gym.config import ConfigT, from_mapping, load_yaml, parse_yaml, to_mapping
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.files import write_json_atomic

DEFAULT_ENV = "PolicyTrim/MetaWorld-v0"


class AddKeyValues(argparse.Action):
    """Gathers `key=value` arguments in a dict; the option may be repeated, a key may not."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        gathered = dict(getattr(namespace, self.dest) or {})
        for key, value in values:
            if key in gathered:
                parser.error(f"{option_string}: the key {key!r} is given twice")
            gathered[key] = value
        setattr(namespace, self.dest, gathered)


def key_value(text: str) -> tuple[str, Any]:
    """Returns `key=value` as a pair, the value typed as YAML types it.

    Raises:
        argparse.ArgumentTypeError: no `=`, a key that is no Python name, or a value that is no YAML.

    >>> key_value("tasks=[reach-v3, push-v3]")
    ('tasks', ['reach-v3', 'push-v3'])
    >>> key_value("pace=0.5")
    ('pace', 0.5)
    """
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        outer, dot, inner = key.partition(".")
        nested = f"; a setting inside another is given with it: '{outer}={{{inner}: {value}}}'" if dot and separator else ""
        raise argparse.ArgumentTypeError(f"expected key=value with a Python name as key, got {text!r}{nested}")
    try:
        return key, parse_yaml(value)
    except InvalidConfig as error:
        raise argparse.ArgumentTypeError(f"the value of {key} is {error}, got {value!r}") from error


def number(kind: type[int] | type[float], minimum: float, *, above: bool = False) -> Callable[[str], Any]:
    """Returns an argparse type for numbers of at least `minimum`, or above it.

    >>> number(int, 1)("8")
    8
    """

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (value > minimum if above else value >= minimum) or value == float("inf"):
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {noun} {'above' if above else 'of at least'} {minimum:g}, got {text!r}")
        return value

    return parse


class AddNumbers(argparse.Action):
    """Gathers what `numbers` read: `--horizons 5 8`, `--horizons 5,8` and any mixture are the same."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, [value for part in values for value in part])


def numbers(kind: type[int] | type[float], minimum: float, *, above: bool = False) -> Callable[[str], list[Any]]:
    """Returns an argparse type for numbers with commas between them, each as `number` takes it.

    >>> numbers(int, 1)("5,8,10")
    [5, 8, 10]
    """
    parse = number(kind, minimum, above=above)
    return lambda text: [parse(part) for part in text.split(",")]


def add_policy(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds `--policy URI`."""
    parser.add_argument(
        "--policy",
        metavar="URI",
        required=required,
        default=argparse.SUPPRESS if required else None,
        help="checkpoint folder, ws://host:port of an openpi server, or python:module:factory",
    )


def add_observation_map(parser: argparse.ArgumentParser) -> None:
    """Adds `--observation-map FILE`, for a policy that calls things otherwise than the environment does."""
    parser.add_argument(
        "--observation-map",
        metavar="FILE",
        default=None,
        help="YAML between environment and model, or the name of one that comes with the package, such as openpi_libero",
    )


def add_env(parser: argparse.ArgumentParser) -> None:
    """Adds `--env ID` and `--env-kwargs key=value ...`; both default to None: what the checkpoint was trained on."""
    parser.add_argument("--env", metavar="ID", default=None, help="Gymnasium id (default: what the checkpoint knows)")
    parser.add_argument(
        "--env-kwargs",
        metavar="KEY=VALUE",
        nargs="*",
        type=key_value,
        action=AddKeyValues,
        default=None,
        help="arguments of the environment, typed as YAML, such as 'tasks=[reach-v3]'; each replaces what the checkpoint knows",
    )


def add_out(parser: argparse.ArgumentParser, default: str | None = None, resumes: bool = True) -> None:
    """Adds `--out DIR`, required unless there is a default; `resumes` says whether an interrupted command goes on from it."""
    required = default is None
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=required,
        default=argparse.SUPPRESS if required else Path(str(default)),
        help="run folder; what it holds already is resumed" if resumes else "run folder; written when all is done",
    )
    parser.set_defaults(resumes=resumes)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json FILE`."""
    parser.add_argument("--json", metavar="FILE", default=None, help="write the result as JSON; - prints it in place of the table")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds `--seed N`, 0 or more."""
    parser.add_argument("--seed", metavar="N", type=number(int, 0), default=0, help="seed of everything that draws")


def env_of(
    options: argparse.Namespace, known_env: str | None = None, known_kwargs: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Returns the environment's id and arguments: the options first, then what the checkpoint knows, then the default.

    The checkpoint's arguments belong to its environment: another `--env` starts from none of them.

    Args:
        options: with `env` and `env_kwargs`, as `add_env` declares them.
        known_env: id that the checkpoint was trained on.
        known_kwargs: arguments that the checkpoint was trained with.
    """
    env = next(name for name in (options.env, known_env, DEFAULT_ENV) if name is not None)
    kept = (known_kwargs or {}) if env == (known_env or DEFAULT_ENV) else {}
    return env, {**kept, **(options.env_kwargs or {})}


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config FILE` and `--set key=value ...`, for what is too fine for an option of its own."""
    parser.add_argument("--config", metavar="FILE", type=Path, default=None, help="YAML file with settings, such as a run's config.yaml")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        nargs="+",
        type=key_value,
        action=AddKeyValues,
        default=None,
        help="settings, typed as YAML; they replace those of --config (docs/reference/configuration.md lists them)",
    )


def config_of(options: argparse.Namespace, cls: type[ConfigT], *, recipe: ConfigT | None = None, **given: Any) -> ConfigT:
    """Returns the configuration that the options ask for: defaults, then `--config` or a recipe, then `given`, then `--set`.

    Args:
        options: with `config` and `set`, as `add_config` declares them.
        cls: a config dataclass.
        recipe: in place of `--config`; None is none.
        given: fields that have an option of their own; None means that the option was not used.

    Raises:
        InvalidConfig: an unknown key or a value of another type, naming both; an unreadable file; a recipe and a file.
    """
    if recipe is not None and options.config is not None:
        raise InvalidConfig(f"--recipe and --config {options.config} both give the settings; choose one, and change it by --set")
    base = to_mapping(recipe) if recipe is not None else {} if options.config is None else to_mapping(load_yaml(cls, options.config))
    used = {key: value for key, value in given.items() if value is not None}
    return from_mapping(cls, {**base, **used, **(options.set or {})})


def write_json(options: argparse.Namespace, result: Any) -> bool:
    """Writes the result where `--json` says, and returns whether stdout now belongs to it: `--json -` is piped, without a table.

    Raises:
        CannotWrite: the file could not be written.
    """
    if options.json == "-":
        json.dump(result, sys.stdout, indent=1, allow_nan=False)
        print()
        return True
    if options.json is not None:
        write_json_atomic(options.json, result)
    return False
