"""Laws of the typed configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
import pytest

from policytrim_gym.config import check_fields, dump_yaml, from_mapping, load_yaml, parse_yaml, to_mapping
from policytrim_gym.errors import InvalidConfig


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    mode: Literal["floor", "gate"] = "floor"


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = 10
    rate: float = 1.0
    on: bool = False
    limit: float | None = None
    old_style: Optional[int] = None  # noqa: UP045 - the spelling is under test
    number_or_name: int | str = 0
    hidden: tuple[int, ...] = (64, 64)
    pair: tuple[int, float] = (1, 2.0)
    inner: Inner = field(default_factory=Inner)
    inners: tuple[Inner, ...] = ()
    maybe_inner: Inner | None = None
    bases: dict[str, float] = field(default_factory=dict)
    folder: Path = Path("runs")
    anything: Any = None


FULL = {
    "name": "a",
    "steps": 3,
    "rate": 0.25,
    "on": True,
    "limit": 2.5,
    "old_style": 7,
    "number_or_name": "x",
    "hidden": [1, 2, 3],
    "pair": [4, 5.5],
    "inner": {"rate": 0.1, "mode": "gate"},
    "inners": [{"rate": 0.2, "mode": "floor"}],
    "maybe_inner": {"rate": 0.3, "mode": "floor"},
    "bases": {"reach": 50.0},
    "folder": "elsewhere",
    "anything": [1, "two"],
}


@pytest.mark.parametrize("values", [{"name": "a"}, FULL])
def test_round_trips_through_mapping_and_yaml(tmp_path, values: dict) -> None:
    config = from_mapping(Outer, values)
    assert from_mapping(Outer, to_mapping(config)) == config
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(config))
    assert load_yaml(Outer, path) == config


def test_a_full_mapping_comes_back_unchanged() -> None:
    assert to_mapping(from_mapping(Outer, FULL)) == FULL


def test_types_are_converted_only_without_loss() -> None:
    config = from_mapping(Outer, {"name": "a", "rate": 2, "hidden": [np.int64(5)], "pair": [1, 2], "inner": Inner(0.9)})
    assert isinstance(config.rate, float) and config.rate == 2.0
    assert config.hidden == (5,) and type(config.hidden[0]) is int
    assert config.pair == (1, 2.0)
    assert config.inner == Inner(0.9)


def test_a_union_keeps_the_type_that_fits_exactly() -> None:
    assert from_mapping(Outer, {"name": "a", "number_or_name": 3}).number_or_name == 3
    assert from_mapping(Outer, {"name": "a", "number_or_name": "3"}).number_or_name == "3"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stpes": 3}, 'unknown key "stpes" in Outer; did you mean "steps"?'),
        ({"zzz": 3}, 'unknown key "zzz" in Outer; known: name, steps, '),
        ({"inner": {"rat": 1.0}}, 'unknown key "rat" in inner; did you mean "rate"?'),
        ({"maybe_inner": {"rat": 1.0}}, 'unknown key "rat" in maybe_inner; did you mean "rate"?'),
        ({"inners": [{}, {"mod": 1}]}, 'unknown key "mod" in inners[1]; did you mean "mode"?'),
        ({"steps": "3"}, "steps must be an integer, got '3' (str)"),
        ({"steps": 3.0}, "steps must be an integer, got 3.0 (float)"),
        ({"steps": True}, "steps must be an integer, got True (bool)"),
        ({"rate": "1e-4"}, "rate must be a float, got '1e-4' (str)"),
        ({"rate": True}, "rate must be a float, got True (bool)"),
        ({"rate": float("nan")}, "rate must be a number, got nan"),
        ({"rate": None}, "rate must be a float, got None"),
        ({"on": 1}, "on must be true or false, got 1 (int)"),
        ({"limit": "x"}, "limit must be a float or None, got 'x' (str)"),
        ({"old_style": 1.5}, "old_style must be an integer or None, got 1.5 (float)"),
        ({"number_or_name": 1.5}, "number_or_name must be an integer or a string, got 1.5 (float)"),
        ({"hidden": 5}, "hidden must be a list with each item an integer, got 5 (int)"),
        ({"hidden": [1, "2"]}, "hidden[1] must be an integer, got '2' (str)"),
        ({"hidden": "12"}, "hidden must be a list with each item an integer, got '12' (str)"),
        ({"pair": [1, 2, 3]}, "pair must be a list of an integer, a float, got 3 values: [1, 2, 3]"),
        ({"inner": 3}, "inner must be a mapping, got 3 (int)"),
        ({"inner": {"mode": "gated"}}, "inner.mode must be one of 'floor', 'gate', got 'gated' (str); did you mean \"gate\"?"),
        ({"bases": {"reach": "x"}}, "bases.reach must be a float, got 'x' (str)"),
        ({"bases": {1: 1.0}}, "bases must be a mapping with each value a float, got {1: 1.0} (dict)"),
    ],
)
def test_what_does_not_fit_is_named(values: dict, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        from_mapping(Outer, {"name": "a", **values})
    assert str(caught.value).startswith(message)


def test_options_are_listed_once_where_none_is_close() -> None:
    with pytest.raises(InvalidConfig) as caught:
        from_mapping(Outer, {"name": "a", "inner": {"mode": "zzz"}})
    assert str(caught.value) == "inner.mode must be one of 'floor', 'gate', got 'zzz' (str)"


def test_a_missing_key_and_a_wrong_root_are_named() -> None:
    with pytest.raises(InvalidConfig, match='missing key "name" in Outer'):
        from_mapping(Outer, {})
    with pytest.raises(InvalidConfig, match="Outer must be a mapping, got 3"):
        from_mapping(Outer, 3)  # type: ignore[arg-type]


def test_check_fields_guards_the_constructor() -> None:
    @dataclass(frozen=True)
    class Checked:
        sizes: tuple[int, ...] = (1,)

        def __post_init__(self) -> None:
            check_fields(self)

    assert Checked([1, 2]).sizes == (1, 2)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match=r"sizes\[0\] must be an integer, got 'a'"):
        Checked(["a"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("-1E+3", -1000.0), ("2.5e3", 2500.0), (".5e1", 5.0), ("1", 1), ("e4", "e4"), ("1e", "1e"), ("'1e-4'", "1e-4")],
)
def test_numbers_with_an_exponent_are_numbers(text: str, value: object) -> None:
    parsed = parse_yaml(text)
    assert parsed == value and type(parsed) is type(value)


def test_yaml_errors_name_the_file(tmp_path) -> None:
    path = tmp_path / "config.yaml"
    for text, message in [
        ("name: a\nname: b\n", 'key "name" is given twice'),
        ("name: [", "not valid YAML"),
        ("nme: a", 'did you mean "name"'),
        ("- 1", "must be a mapping"),
    ]:
        path.write_text(text)
        with pytest.raises(InvalidConfig, match=message) as caught:
            load_yaml(Outer, path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InvalidConfig, match="could not read"):
        load_yaml(Outer, tmp_path / "absent.yaml")


def test_an_empty_file_gives_the_defaults(tmp_path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_yaml(Inner, path) == Inner()
