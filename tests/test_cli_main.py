"""Laws of the command line: exit codes, one-line errors, and help that needs no heavy package."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from policytrim_gym.cli.main import COMMANDS, Command, build_parser, main
from policytrim_gym.errors import InvalidHorizon, PolicyTrimError


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Runs `policytrim probe ARGUMENTS`, whose work is `work`; returns the exit code, stdout and stderr."""

    def run(work, *arguments, before=()):
        module = types.ModuleType("probe_command")
        module.add_arguments = lambda parser: parser.add_argument("--count", type=int, default=3, help="how many")
        module.run = work
        monkeypatch.setitem(sys.modules, "probe_command", module)
        try:
            code = main([*before, "probe", *arguments], {"probe": Command("probe_command", "does nothing")})
        except SystemExit as exit_:
            code = exit_.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def raising(error):
    def work(options):
        raise error

    return work


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_exit_code_is_what_the_command_returns(run_command, returned, code):
    assert run_command(lambda options: returned)[0] == code


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (InvalidHorizon("execute_horizon must be in 1..32 (chunk_size), got 40"), 1, "must be in 1..32 (chunk_size), got 40"),
        (PolicyTrimError("first\nsecond"), 1, "first second"),
        (PolicyTrimError(), 1, "PolicyTrimError"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(13, "Permission denied", "somewhere"), 1, "Permission denied"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, 'pip install "policytrim[train]"'),
        (ModuleNotFoundError("No module named 'nowhere'", name="nowhere"), 1, "No module named 'nowhere'"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero (a bug; --debug shows the traceback)"),
    ],
)
def test_every_error_is_one_line_and_a_failing_code(run_command, error, code, expected):
    actual, out, err = run_command(raising(error))
    assert (actual, out) == (code, "")
    assert err.startswith("policytrim: error: ") and err.count("\n") == 1 and expected in err


def test_an_interrupted_command_with_a_run_folder_says_how_to_go_on(run_command):
    def work(options):
        options.out = "run"
        raise KeyboardInterrupt

    assert run_command(work)[2] == "policytrim: error: interrupted; the same command goes on\n"


def test_an_interrupted_command_that_would_start_over_does_not_say_that_it_goes_on(run_command):
    def work(options):
        options.out, options.resumes = "run", False
        raise KeyboardInterrupt

    assert run_command(work)[2] == "policytrim: error: interrupted\n"


def test_sigterm_is_as_ctrl_c_and_only_while_a_command_runs(run_command):
    before = signal.getsignal(signal.SIGTERM)

    def work(options):
        options.out = "run"
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    code, _, err = run_command(work)
    assert (code, err) == (130, "policytrim: error: interrupted; the same command goes on\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_runs_in_a_thread_too(run_command):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_command, lambda options: 3).result()[0] == 3


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback_wherever_it_stands(run_command, place):
    error = InvalidHorizon("got 40")
    _, _, err = run_command(raising(error), before=["--debug"]) if place == "before" else run_command(raising(error), "--debug")
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1] == "policytrim: error: got 40"


def test_debug_reaches_the_command_from_both_places(run_command):
    seen = []
    run_command(lambda options: seen.append(options.debug), before=["--debug"])
    run_command(lambda options: seen.append(options.debug), "--debug")
    run_command(lambda options: seen.append(options.debug))
    assert seen == [True, True, False]


@pytest.mark.parametrize("arguments", [["--unknown"], ["--count", "many"], ["--coun", "3"], ["stray"]])
def test_a_wrong_option_is_one_line_and_exit_code_2(run_command, arguments):
    code, _, err = run_command(lambda options: 0, *arguments)
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("policytrim") and arguments[-1] in err


@pytest.mark.parametrize("arguments", [["no-such-command"], [], ["--no-such-option"]])
def test_an_unknown_or_missing_command_is_one_line_and_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    err = capsys.readouterr().err
    assert exit_.value.code == 2 and err.count("\n") == 1


def test_help_shows_defaults_and_exits_with_success(run_command):
    code, out, _ = run_command(lambda options: 1, "--help")
    assert code == 0
    assert "how many (default: 3)" in out
    assert "(default: None)" not in out and "(default: False)" not in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_has_help(name, capsys):
    subparser_action = next(action for action in build_parser(name, COMMANDS)._actions if isinstance(action, argparse._SubParsersAction))
    assert callable(subparser_action.choices[name].get_default("run"))
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    assert COMMANDS[name].summary.split()[0] in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_needs_neither_torch_nor_simulator(arguments):
    script = (
        "import sys\n"
        "from policytrim_gym.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as exit_:\n    assert exit_.code == 0, exit_.code\n"
        "heavy = {'torch', 'mujoco', 'metaworld', 'stable_baselines3', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, timeout=60)


def test_a_reader_that_leaves_early_is_no_traceback():
    script = "import sys; from policytrim_gym.cli.main import Command, main\n"
    script += "import types; module = types.ModuleType('noisy'); sys.modules['noisy'] = module\n"
    script += "module.add_arguments = lambda parser: None\n"
    script += "module.run = lambda options: [print('line ' * 100) for _ in range(10_000)] and 0\n"
    script += "sys.exit(main(['noisy'], {'noisy': Command('noisy', 'prints')}))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "policytrim_gym", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[0]) == (0, "policytrim")
