"""Servers for the tests of the openpi client: one that follows the official protocol, and some that break it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from openpi_client import msgpack_numpy
from websockets.sync.server import ServerConnection, serve

from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec

CHUNK_SIZE, ACTION_DIM = 6, 3
WEIGHTS = np.random.default_rng(0).normal(size=(CHUNK_SIZE, ACTION_DIM, 4)).astype(np.float32)


def predict(observation) -> np.ndarray:
    """A policy that depends on the state and on the pixels."""
    return (WEIGHTS @ observation["state"] + observation["image"].mean(dtype=np.float32)).astype(np.float32)


def make_policy(execute_horizon=4) -> CallablePolicy:
    shapes = {"state": (4,), "image": (8, 8, 3)}
    kinds = ("delta",) * ACTION_DIM
    return CallablePolicy(predict, PolicySpec(CHUNK_SIZE, ACTION_DIM, execute_horizon, 0.1, shapes, False, kinds))


def make_observation(index: int) -> dict:
    random = np.random.default_rng(index)
    return {"state": random.normal(size=4).astype(np.float32), "image": random.integers(0, 256, (8, 8, 3), np.uint8), "task": "wipe"}


@contextmanager
def websocket_server(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """Yields the URI of a server that runs `handler` for each connection."""
    with serve(handler, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.2) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def answering(answer: Callable[[dict], object], metadata=None) -> Callable[[ServerConnection], None]:
    """Returns a handler as the official server's: metadata, then for each observation what `answer` returns.

    bytes and text are sent as they are, another value by the official codec; None sends nothing; text closes with code 1011.
    """

    def handle(connection: ServerConnection) -> None:
        connection.send(msgpack_numpy.packb({} if metadata is None else metadata))
        for message in connection:
            reply = answer(msgpack_numpy.unpackb(message))
            if reply is not None:
                connection.send(reply if isinstance(reply, (bytes, str)) else msgpack_numpy.packb(reply))
            if isinstance(reply, str):
                connection.close(1011, "Internal server error. Traceback included in previous frame.")

    return handle


@contextmanager
def tcp_server(handler: Callable[[socket.socket], None]) -> Iterator[str]:
    """Yields the URI of a server that runs `handler` for each TCP connection, one after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    handler(client)

        threading.Thread(target=accept, daemon=True).start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
