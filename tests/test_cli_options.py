"""Laws of the shared options: what they accept, what they say when they do not."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass

import pytest

from policytrim_gym.cli import options as cli_options
from policytrim_gym.cli.main import Parser
from policytrim_gym.errors import InvalidConfig


def parse(*arguments, add=cli_options.add_env):
    parser = Parser(prog="policytrim probe")
    add(parser)
    return parser.parse_args(list(arguments))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=1e-4", 1e-4),
        ("a=true", True),
        ("a=null", None),
        ("a=", None),
        ("a=reach-v3", "reach-v3"),
        ("a='1'", "1"),
        ("a=x=y", "x=y"),
        ("a=[reach-v3, push-v3]", ["reach-v3", "push-v3"]),
        ("a={low: 1}", {"low": 1}),
    ],
)
def test_env_kwargs_are_typed_as_yaml(text, value):
    assert parse("--env-kwargs", text).env_kwargs == {"a": value}


def test_env_kwargs_gather_over_one_and_several_uses():
    expected = {"a": 1, "b": 2, "c": 3}
    assert parse("--env-kwargs", "a=1", "b=2", "c=3").env_kwargs == expected
    assert parse("--env-kwargs", "a=1", "--env-kwargs", "b=2", "c=3").env_kwargs == expected
    assert parse("--env-kwargs").env_kwargs == {}
    assert parse().env_kwargs is None


@pytest.mark.parametrize("arguments", [["novalue"], ["1a=2"], ["=2"], ["a=[1"], ["a=1", "a=2"]])
def test_malformed_env_kwargs_are_refused_with_what_was_given(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse("--env-kwargs", *arguments)
    err = capsys.readouterr().err
    assert exit_.value.code == 2 and err.count("\n") == 1
    assert arguments[-1].partition("=")[0] in err


def test_a_nested_key_is_refused_with_how_it_is_given(capsys):
    with pytest.raises(SystemExit):
        parse("--set", "warm_start.max_steps=3", add=cli_options.add_config)
    hint = re.search(r"with it: '(.*?)' \(see", capsys.readouterr().err)[1]
    assert cli_options.key_value(hint) == ("warm_start", {"max_steps": 3})


@pytest.mark.parametrize(
    ("parse_number", "good", "bad"),
    [
        (cli_options.number(int, 1), ["1", "250"], ["0", "-3", "1.5", "many", ""]),
        (cli_options.number(float, 0, above=True), ["0.1", "2"], ["0", "-1", "nan", "inf", "x"]),
    ],
)
def test_numbers_are_checked_with_their_bounds(parse_number, good, bad):
    for text in good:
        assert parse_number(text) == float(text)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match="got"):
            parse_number(text)


def test_what_the_checkpoint_knows_is_the_default_and_options_change_it_key_by_key():
    known = ("Known-v0", {"a": 1, "b": 2})
    assert cli_options.env_of(parse()) == (cli_options.DEFAULT_ENV, {})
    assert cli_options.env_of(parse(), *known) == known
    assert cli_options.env_of(parse("--env-kwargs", "b=3"), *known) == ("Known-v0", {"a": 1, "b": 3})
    assert cli_options.env_of(parse("--env", "Known-v0"), *known) == known
    assert cli_options.env_of(parse("--env", "Other-v0"), *known) == ("Other-v0", {})
    assert cli_options.env_of(parse("--env", ""), *known) == ("", {})
    assert known[1] == {"a": 1, "b": 2}


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    count: int = 3
    seed: int = 0


def test_settings_are_defaults_then_file_then_options_then_set(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("rate: 0.2\ncount: 4\nseed: 5\n")
    plain = parse(add=cli_options.add_config)
    filed = parse("--config", str(path), add=cli_options.add_config)
    both = parse("--config", str(path), "--set", "count=6", add=cli_options.add_config)
    assert cli_options.config_of(plain, Settings, seed=None) == Settings()
    assert cli_options.config_of(filed, Settings, seed=None) == Settings(0.2, 4, 5)
    assert cli_options.config_of(both, Settings, seed=7) == Settings(0.2, 6, 7)


@pytest.mark.parametrize(("setting", "expected"), [("cuont=3", 'did you mean "count"'), ("count=many", "'many'"), ("rate=[1]", "rate")])
def test_a_wrong_setting_is_refused_with_its_name_and_value(setting, expected):
    with pytest.raises(InvalidConfig, match=re.escape(expected)):
        cli_options.config_of(parse("--set", setting, add=cli_options.add_config), Settings)


def test_json_goes_to_a_file_beside_the_table_or_alone_to_stdout(tmp_path, capsys):
    result = {"schema": "policytrim.report/1", "episodes": []}
    path = tmp_path / "new" / "result.json"
    assert not cli_options.write_json(parse(add=cli_options.add_json), result)
    assert not cli_options.write_json(parse("--json", str(path), add=cli_options.add_json), result)
    assert (json.loads(path.read_text()), capsys.readouterr().out) == (result, "")

    assert cli_options.write_json(parse("--json", "-", add=cli_options.add_json), result)
    assert json.loads(capsys.readouterr().out) == result
