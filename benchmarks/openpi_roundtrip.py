"""Measures a round trip of our openpi client and server against the official client with the official codec.

Two images of 224 x 224 and a state go to a policy that does nothing, over loopback, to a server in a process of its own. The clients
take turns in random order, call by call, so that a change in the machine's load meets all of them. Compared are: our client and the
official one at our server, and the official one at a server that follows the official one's protocol with the official codec. Goal:
both ratios of medians at most 1.2. Then eight official clients ask our server at the same time, and every answer is compared.

    python benchmarks/openpi_roundtrip.py
    python benchmarks/openpi_roundtrip.py --calls 200 --json runs/openpi_roundtrip.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from policytrim_gym.policies.openpi import OpenpiPolicy
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.serving.openpi_server import OpenpiServer
from policytrim_gym.spec import PolicySpec

CHUNK_SIZE, ACTION_DIM, NUM_CLIENTS = 50, 32, 8
TEMPLATE = np.linspace(-1, 1, CHUNK_SIZE * ACTION_DIM, dtype=np.float32).reshape(CHUNK_SIZE, ACTION_DIM)

warnings.filterwarnings("ignore", "connect", DeprecationWarning)  # the official client's way to connect


def predict(observation: Any) -> Any:
    """A policy that costs nothing and whose chunk tells which observation it saw."""
    return TEMPLATE + observation["state"][0]


def serve_ours(pipe: Connection) -> None:
    """Runs our server until the other end of the pipe says something."""
    with OpenpiServer(CallablePolicy(predict, PolicySpec(CHUNK_SIZE, ACTION_DIM)), port=0) as server:
        pipe.send(server.port)
        pipe.recv()


def serve_official(pipe: Connection) -> None:
    """Runs a server that does what the official one does: receive, infer, answer, in the event loop."""
    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        packer = msgpack_numpy.Packer()
        await connection.send(packer.pack({}))
        async for message in connection:
            start_s = time.monotonic()
            answer: dict[str, Any] = {"actions": predict(msgpack_numpy.unpackb(message))}
            answer["server_timing"] = {"infer_ms": 1000 * (time.monotonic() - start_s)}
            await connection.send(packer.pack(answer))

    async def run() -> None:
        async with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
            pipe.send(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(run())


def make_observation(index: int) -> dict[str, Any]:
    """Returns two images and a state, another one for each index."""
    random = np.random.default_rng(index)
    images = {f"image_{camera}": random.integers(0, 256, (224, 224, 3), np.uint8) for camera in ("front", "wrist")}
    return {**images, "state": np.full(8, index, np.float32), "prompt": "put the cube into the bowl"}


def measure(asks: dict[str, Callable[[Any], Any]], num_calls: int) -> dict[str, Any]:
    """Returns the durations of each client's calls [s], taken in turns of random order."""
    durations_s: dict[str, list[float]] = {name: [] for name in asks}
    observations = [make_observation(index) for index in range(8)]
    order, random = list(asks), np.random.default_rng(0)
    for call in range(num_calls + 20):
        observation = observations[call % len(observations)]
        random.shuffle(order)  # whoever follows another at the same server finds it awake
        for name in order:
            start_s = time.perf_counter()
            actions = asks[name](observation)
            elapsed_s = time.perf_counter() - start_s
            if not np.array_equal(actions, predict(observation)):
                raise RuntimeError(f"{name}: a wrong chunk")
            if call >= 20:  # the first ones warm up
                durations_s[name].append(elapsed_s)
    return durations_s


def ask_together(port: int, num_calls: int) -> float:
    """Returns the calls per second of eight official clients at once; raises when an answer is lost or another client's."""

    def ask(index: int) -> None:
        client = WebsocketClientPolicy("127.0.0.1", port)
        observation = make_observation(index)
        for call in range(num_calls):
            observation["state"] = np.full(8, 1000 * index + call, np.float32)
            if not np.array_equal(client.infer(observation)["actions"], predict(observation)):
                raise RuntimeError(f"client {index}: a wrong chunk at call {call}")

    start_s = time.perf_counter()
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        list(pool.map(ask, range(NUM_CLIENTS)))
    return NUM_CLIENTS * num_calls / (time.perf_counter() - start_s)


def parse() -> argparse.Namespace:
    """Returns the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, help="of each client")
    parser.add_argument("--max-ratio", type=float, default=1.2, help="exit code 1 above it")
    parser.add_argument("--json", type=Path, default=None, help="write the result there too")
    return parser.parse_args()


def main() -> int:
    """Measures, prints, and returns 1 when a goal was missed."""
    arguments = parse()
    context = multiprocessing.get_context("spawn")
    pipes, processes, ports = [], [], []
    for target in (serve_ours, serve_official):
        here, there = context.Pipe()
        process = context.Process(target=target, args=(there,), daemon=True)
        process.start()
        pipes.append(here)
        processes.append(process)
        ports.append(here.recv())
    official_at_ours = WebsocketClientPolicy("127.0.0.1", ports[0])
    official = WebsocketClientPolicy("127.0.0.1", ports[1])
    with OpenpiPolicy(f"ws://127.0.0.1:{ports[0]}") as ours:
        durations_s = measure(
            {
                "our client, our server": lambda observation: ours.predict_action_chunk(observation).actions,
                "official client, our server": lambda observation: official_at_ours.infer(observation)["actions"],
                "official client, official protocol": lambda observation: official.infer(observation)["actions"],
            },
            arguments.calls,
        )
    rate_hz = ask_together(ports[0], arguments.calls // 4)
    for pipe, process in zip(pipes, processes):
        pipe.send("stop")
        process.join(10)
    medians_s = {name: float(np.median(values)) for name, values in durations_s.items()}
    mine, same_server, all_official = medians_s.values()
    for name, values in durations_s.items():
        print(f"{name:36} p50 {1000 * medians_s[name]:6.2f} ms   p99 {1000 * np.quantile(values, 0.99):6.2f} ms")
    ratios = {"at_our_server": mine / same_server, "whole": mine / all_official}
    print(f"our client over the official one at our server {ratios['at_our_server']:.3f}; all ours over all official {ratios['whole']:.3f}")
    print(f"{NUM_CLIENTS} clients at once: {NUM_CLIENTS * (arguments.calls // 4)} answers, none lost or mixed up, {rate_hz:.0f} a second")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({"calls": arguments.calls, "medians_s": medians_s, "ratios": ratios, "rate_hz": rate_hz}, indent=1)
        )
    return int(max(ratios.values()) > arguments.max_ratio)


if __name__ == "__main__":
    sys.exit(main())
