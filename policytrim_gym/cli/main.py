"""The command line `policytrim`: finds the subcommand, runs it, turns its errors into one line and an exit code.

A subcommand is a module of this package with `add_arguments(parser)` and `run(options)`. It is imported when it is asked for, so
that `policytrim --help` needs neither torch nor a simulator.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, NoReturn, Protocol, cast

import gymnasium.error

from policytrim_gym.errors import PolicyTrimError, PolicyTrimWarning
from policytrim_gym.version import __version__

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE: who read our output has left

EXTRA_OF_MODULE = {
    "torch": "train",
    "safetensors": "train",
    "stable_baselines3": "train",
    "sb3_contrib": "train",
    "tensorboard": "train",
    "tqdm": "train",
    "rich": "train",
    "yaml": "train",
    "mujoco": "sim",
    "metaworld": "sim",
    "scipy": "sim",
    "imageio": "sim",
    "pybullet": "arm",
    "pinocchio": "arm",
    "pink": "arm",
    "qpsolvers": "arm",
    "jinja2": "report",
    "matplotlib": "report",
    "PIL": "report",
    "transformers": "vla",
    "websockets": "openpi",
    "msgpack": "openpi",
    "peft": "vla",
    "rosbags": "mcap",
}
"""Which extra brings a module that is not there."""


class Command(NamedTuple):
    """Where a subcommand lives and its line in `policytrim --help`."""

    module: str
    summary: str


class CommandModule(Protocol):
    """What `main` asks of a subcommand's module."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the subcommand's options."""

    def run(self, options: argparse.Namespace) -> int | None:
        """Does the work; returns an exit code, None for success. Raises PolicyTrimError for what the user can mend."""


COMMANDS = {
    "demo": Command("policytrim_gym.cli.demo", "clone, sweep, trim, evaluate and report in ten minutes, on Meta-World or on the arm"),
    "clone": Command("policytrim_gym.cli.clone", "clone a base policy from a scripted expert"),
    "sweep": Command("policytrim_gym.cli.sweep", "run every horizon and playback rate without training"),
    "trim": Command("policytrim_gym.cli.trim", "train both stages: longer reliable chunks, then fewer steps"),
    "train-horizon": Command("policytrim_gym.cli.train_horizon", "train a controller of a frozen policy's horizon with Stable-Baselines3"),
    "evaluate": Command("policytrim_gym.cli.evaluate", "run a policy at one setting on the test states"),
    "serve": Command("policytrim_gym.cli.serve", "offer a policy to openpi clients on other machines"),
    "report": Command("policytrim_gym.cli.report", "print a run's verdict or a recording's table, and draw the page"),
}
"""Every subcommand that exists, in the order of a first session."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of an option, unless it is "not given"."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all errors of this command line; no abbreviated options."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")


def build_parser(command: str | None, commands: Mapping[str, Command]) -> Parser:
    """Returns the whole parser, in which only `command` has its options, since only its module is imported."""
    parser = Parser(prog="policytrim", description="Fewer model calls and fewer steps for policies that predict chunks of actions.")
    parser.add_argument("--version", action="version", version=f"policytrim {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module_name, summary) in commands.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary, formatter_class=HelpFormatter)
        # SUPPRESS: the subparser must not reset what stood before the subcommand.
        subparser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
        if name == command:
            module = cast(CommandModule, importlib.import_module(module_name))
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None, commands: Mapping[str, Command] = COMMANDS) -> int:
    """Runs one subcommand.

    Args:
        argv: arguments without the program's name; None takes the process's.
        commands: the subcommands to offer.

    Returns:
        The exit code: 0 on success only, 1 on an error, 2 on a wrong option (raised by argparse as SystemExit), 130 on Ctrl-C or SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    options = argparse.Namespace()
    try:
        options = build_parser(command, commands).parse_args(arguments)
        with warnings_in_one_line(), sigterm_interrupts():
            code = options.run(options) or 0
        sys.stdout.flush()  # a reader that has left must be noticed here and not at exit, after the code is decided
        return int(code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        resumes = "out" in options and getattr(options, "resumes", True)  # what it has done is in the run folder
        return fail("interrupted; the same command goes on" if resumes else "interrupted", debug, EXIT_INTERRUPTED)
    except PolicyTrimError as error:
        return fail(str(error) or type(error).__name__, debug)
    except ModuleNotFoundError as error:
        return fail(explain_missing_module(error), debug)
    except (OSError, gymnasium.error.Error) as error:  # a path or an environment's id that the user mistook
        return fail(str(error), debug)
    except Exception as error:  # a bug of ours: still one line, with the way to see more
        hint = "" if debug else " (a bug; --debug shows the traceback)"
        return fail(f"{type(error).__name__}: {error}{hint}", debug)


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Shows a warning of ours as one line on stderr, without the place in the code; others as Python shows them."""
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, PolicyTrimWarning):
                print(f"policytrim: warning: {one_line(str(message))}", file=sys.stderr)
            else:
                show_others(message, category, *place, **more)

        warnings.showwarning = show
        yield


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Makes a service manager's way to stop a program the same as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(message: str, debug: bool, code: int = EXIT_ERROR) -> int:
    """Prints the error being handled as one line, after its traceback when `debug`, and returns `code`."""
    if debug:
        traceback.print_exc()
    print(f"policytrim: error: {one_line(message)}", file=sys.stderr)
    return code


def explain_missing_module(error: ModuleNotFoundError) -> str:
    """Returns what to install.

    >>> explain_missing_module(ModuleNotFoundError("No module named 'torch'", name="torch"))
    'torch is not installed; it comes with: pip install "policytrim[train]"'
    """
    package = (error.name or "").partition(".")[0]
    extra = EXTRA_OF_MODULE.get(package)
    return str(error) if extra is None else f'{package} is not installed; it comes with: pip install "policytrim[{extra}]"'


def one_line(message: str) -> str:
    """Returns the message with every run of white space as one space.

    >>> one_line("two   words")
    'two words'
    """
    return " ".join(message.split())


if __name__ == "__main__":
    sys.exit(main())
