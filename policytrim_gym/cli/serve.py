"""`policytrim serve`: offers a policy in the openpi websocket protocol."""

from __future__ import annotations

import argparse
import os
import sys

from policytrim_gym.cli import options as shared
from policytrim_gym.errors import InvalidConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_policy(parser)
    parser.add_argument("--port", metavar="N", type=shared.number(int, 0), default=8000, help="0 takes a free one")
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="0.0.0.0 is reached from other machines too")
    parser.add_argument(
        "--api-key-env", metavar="NAME", default=None, help="environment variable with the key that clients must send (default: no key)"
    )
    parser.add_argument(
        "--execute-horizon",
        metavar="H",
        type=shared.number(int, 1),
        default=None,
        help="actions of each chunk that clients are told to run (default: the policy's)",
    )
    parser.add_argument(
        "--max-wait-ms",
        metavar="MS",
        type=shared.number(float, 0),
        default=0.0,
        help="how long an observation waits for those of other clients",
    )


def run(options: argparse.Namespace) -> None:
    """Serves until Ctrl-C or SIGTERM, which end it well: what is in flight is answered.

    Raises:
        InvalidConfig: a variable for the key that is not set.
        CannotListen: the port is taken.
    """
    from policytrim_gym.policies.checkpoint_facts import warn_unproven
    from policytrim_gym.policies.loading import load_policy
    from policytrim_gym.policies.proof import RunSetting
    from policytrim_gym.progress import write_line
    from policytrim_gym.serving.openpi_server import OpenpiServer

    api_key = None if options.api_key_env is None else os.environ.get(options.api_key_env)
    if options.api_key_env is not None and not api_key:
        raise InvalidConfig(f"--api-key-env {options.api_key_env}: that environment variable must hold the key, it is not set or empty")
    if sys.stderr.isatty():  # a log is to hold the errors alone
        write_line(f"loading {options.policy}")
    server = OpenpiServer(
        load_policy(options.policy),
        options.host,
        options.port,
        api_key=api_key,
        execute_horizon=options.execute_horizon,
        max_wait_s=options.max_wait_ms / 1000,
    )
    spec = server.spec
    served = RunSetting(control_dt_s=spec.control_dt_s, chunk_size=spec.chunk_size, execute_horizon=spec.horizon)
    warn_unproven(options.policy, served)  # where and how late its clients run it, only they know
    try:
        with server:
            print(
                f"{options.policy}: chunks of {spec.chunk_size} x {spec.action_dim}, {spec.horizon} to run, at {server.uri}; Ctrl-C stops",
                flush=True,
            )
            server.wait()
    except KeyboardInterrupt:
        print("stopped")
