"""Serves a policy in the openpi websocket protocol, so that any openpi client can use it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
import time
from concurrent.futures import Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from policytrim_gym.errors import CannotListen, PolicyTrimError, WorkerFailed
from policytrim_gym.policies.openpi_codec import DEFAULT_LIMITS, MessageLimits, decode_map, encode
from policytrim_gym.policies.openpi_metadata import metadata_of
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.serving.chunk_batcher import ChunkBatcher
from policytrim_gym.spec import PolicySpec

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

LOGGER = logging.getLogger(__name__)
INTERNAL_ERROR, GOING_AWAY = 1011, 1001  # RFC 6455, section 7.4.1
PING_INTERVAL_S = 20.0
CLOSE_TIMEOUT_S = 2.0
GRACE_S = 5.0


class OpenpiServer:
    """Answers each observation of each client with the policy's chunk, on a thread of its own.

    A connection gets the policy's spec as metadata, then {"actions": (chunk_size, action_dim), "server_timing": {...}} for each
    observation. An error goes as one line of text, then the connection is closed with code 1011, as the official server does.
    Observations of all clients that wait go to the policy in one call. `GET /healthz` is answered with 200. A client of openpi may
    call the instruction "prompt".

    Args:
        policy: any; its `reset` is never called, as the protocol has none.
        host: address to listen on; the default is reached from this machine only, "0.0.0.0" from everywhere.
        port: 0 takes a free one.
        api_key: clients must send it as `Authorization: Api-Key ...`; None asks for none.
        execute_horizon: what the metadata recommend; by default the policy's own.
        max_wait_s, max_batch: see ChunkBatcher.
        limits: of what a client may send.

    >>> from policytrim_gym.policies.openpi import OpenpiPolicy
    >>> from policytrim_gym.policy import CallablePolicy
    >>> policy = CallablePolicy(lambda observation: [observation["state"]] * 2, PolicySpec(chunk_size=2, action_dim=1))
    >>> with OpenpiServer(policy, port=0) as server, OpenpiPolicy(server.uri) as client:
    ...     client.predict_action_chunk({"state": [0.5]}).actions.tolist()
    [[0.5], [0.5]]
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        api_key: str | None = None,
        execute_horizon: int | None = None,
        max_wait_s: float = 0.0,
        max_batch: int = 64,
        limits: MessageLimits = DEFAULT_LIMITS,
    ) -> None:
        self.host, self.port = host, port
        self.spec: PolicySpec = policy.spec if execute_horizon is None else policy.spec.with_horizon(execute_horizon)
        self._metadata = encode(metadata_of(self.spec))
        self._authorization = None if api_key is None else f"Api-Key {api_key}".encode()
        self._limits = limits
        self._clients: set[ServerConnection] = set()
        self._num_in_flight = 0
        self._batcher = ChunkBatcher(policy, max_wait_s, max_batch, expected=lambda: len(self._clients))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def uri(self) -> str:
        """Where clients on this machine find the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"ws://[{host}]:{self.port}" if ":" in host else f"ws://{host}:{self.port}"

    def start(self) -> None:
        """Begins to listen and returns; `port` is the real one then.

        Raises:
            CannotListen: the port is taken, or the address is not this machine's.
        """
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="openpi server", daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._batcher.close()
            raise

    def wait(self) -> None:
        """Returns when the server has ended; Ctrl-C gets through."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.5)

    def stop(self) -> None:
        """Takes no new clients, answers what is in flight, says goodbye to all clients and returns."""
        if self._loop is not None and self._stopping is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._batcher.close()

    def __enter__(self) -> OpenpiServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, started: Future[None]) -> None:
        from websockets.asyncio.server import serve

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        quiet = logging.getLogger(f"{__name__}.websockets")
        quiet.setLevel(logging.CRITICAL)  # a port scan is no traceback on the terminal of a robot
        try:
            server = await serve(
                self._serve_client,
                self.host,
                self.port,
                origins=[None],  # robots send no Origin: a page in a browser of this machine must not reach the policy
                process_request=self._process_request,
                compression=None,
                max_size=self._limits.max_bytes,
                max_queue=1,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=None,  # a client that runs a long chunk answers no ping and is still there
                logger=quiet,
            )
        except OSError as error:
            started.set_exception(CannotListen(f"cannot listen on {self.host}:{self.port}: {error.strerror or error}"))
            return
        except BaseException as error:
            started.set_exception(error)
            return
        self.port = next(iter(server.sockets)).getsockname()[1]
        started.set_result(None)
        await self._stopping.wait()
        await self._say_goodbye(server)

    async def _say_goodbye(self, server: Server) -> None:
        server.close(close_connections=False)
        until = time.monotonic() + GRACE_S
        while self._num_in_flight and time.monotonic() < until:
            await asyncio.sleep(0.01)
        await asyncio.gather(*(client.close(GOING_AWAY, "the server is stopping") for client in self._clients))
        await server.wait_closed()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers the health check, and who may not connect; None lets the websocket handshake go on."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if self._stopping is not None and self._stopping.is_set():
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping\n")
        if self._authorization is not None:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, self._authorization):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "the header Authorization: Api-Key must hold the server's key\n")
        return None

    async def _serve_client(self, connection: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        self._clients.add(connection)
        previous_s: float | None = None
        try:
            await connection.send(self._metadata)
            async for message in connection:
                start = time.perf_counter()
                self._num_in_flight += 1
                try:
                    await connection.send(await self._answer(message, previous_s))
                finally:
                    self._num_in_flight -= 1
                previous_s = time.perf_counter() - start
        except ConnectionClosed:
            pass  # the client's right, at any time
        except Exception as error:
            await self._send_error(connection, error)
        finally:
            self._clients.discard(connection)

    async def _answer(self, message: bytes | str, previous_s: float | None) -> bytes:
        """Returns the answer to an observation; the timing is the official server's, `prev_total_ms` that of the client's last one."""
        observation: Observation = with_instruction(decode_map(message, self._limits))
        self.spec.check_observation(observation)
        timed = await asyncio.wrap_future(self._batcher.submit(observation))
        timing = {"infer_ms": 1000 * timed.inference_s}
        if previous_s is not None:
            timing["prev_total_ms"] = 1000 * previous_s
        return encode({"actions": timed.chunk.actions, "server_timing": timing})

    @staticmethod
    async def _send_error(connection: ServerConnection, error: Exception) -> None:
        from websockets.exceptions import ConnectionClosed

        foreseen = isinstance(error, PolicyTrimError) and not isinstance(error, WorkerFailed)
        # The traceback stays here: it tells a stranger about this machine, and a client's mistake fits on one line.
        LOGGER.error("%s: %s", connection.remote_address, error, exc_info=None if foreseen else error)
        try:
            await connection.send(" ".join(f"{type(error).__name__}: {error}".split()))
            await connection.close(INTERNAL_ERROR, "the text frame before says why")
        except ConnectionClosed:
            pass


def with_instruction(observation: dict[str, Any]) -> dict[str, Any]:
    """Returns the observation with openpi's "prompt" as "instruction" too, unless it has one.

    >>> with_instruction({"prompt": "open the door"})["instruction"]
    'open the door'
    """
    if "prompt" in observation and "instruction" not in observation:
        return {**observation, "instruction": observation["prompt"]}
    return observation
