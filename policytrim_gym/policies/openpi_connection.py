"""One websocket connection to an openpi server: opens, asks, opens again, and never waits beyond a deadline."""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from policytrim_gym.errors import InferenceTimeout, PolicyTrimError, ProtocolError, ServerFailed, ServerUnreachable, UnknownPolicy
from policytrim_gym.policies.openpi_codec import MessageLimits, decode_map
from policytrim_gym.policies.socket_deadline import SocketDeadline, shut

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

T = TypeVar("T")

QUIET = logging.getLogger(f"{__name__}.websockets")
QUIET.setLevel(logging.CRITICAL)  # the library logs a traceback where a connection is cut; what is wrong stands in our errors

API_KEY_VARIABLE = "OPENPI_API_KEY"
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 2.0
CLOSE_TIMEOUT_S = 0.5
BREACHES = {1002, 1003, 1007, 1009}
"""Close codes that say the message itself was at fault, so that sending it again is useless (RFC 6455, section 7.4.1)."""


class Opened(NamedTuple):
    """An open connection, and the time limit of what it sends."""

    connection: ClientConnection
    send_limit: SocketDeadline


class OpenpiConnection:
    """Holds the connection to one server and sends one request at a time.

    A connection that broke is opened again and the request repeated, as often as `max_retries` says and with growing pauses: a request
    changes nothing on the server. After a deadline nothing is repeated, since the late answer would be taken for the next one; the
    connection is dropped and the next request opens another.

    Args:
        uri: ws://host:port or wss://host:port.
        api_key: sent as `Authorization: Api-Key ...`, as the official client does; None sends none.
        connect_timeout_s: for opening, retries included [s].
        max_retries: attempts after the first.
        limits: of what the server may send.

    Raises:
        UnknownPolicy: not such a URI.

    >>> OpenpiConnection("ws://:8000", None, connect_timeout_s=1.0, max_retries=0, limits=MessageLimits())
    Traceback (most recent call last):
    ...
    policytrim_gym.errors.UnknownPolicy: a policy server is ws://host:port or wss://host:port, got 'ws://:8000'
    """

    def __init__(self, uri: str, api_key: str | None, *, connect_timeout_s: float, max_retries: int, limits: MessageLimits) -> None:
        check_uri(uri)
        self.uri = uri
        self.metadata: dict[str, Any] = {}
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._connect_timeout_s = connect_timeout_s
        self._max_retries = max_retries
        self._limits = limits
        self._opened: Opened | None = None

    def open(self) -> None:
        """Connects, unless connected, and reads the server's metadata.

        Raises:
            ServerUnreachable, ServerFailed, ProtocolError: nobody answers, with an error of its own, or with something else.
        """
        self._repeat(self._connected, time.monotonic() + self._connect_timeout_s)

    def ask(self, message: bytes, deadline: float) -> dict[str, Any]:
        """Returns the server's answer to a message.

        Args:
            message: a whole message.
            deadline: by `time.monotonic`.

        Raises:
            InferenceTimeout: no answer by the deadline.
            ServerFailed: the server answered with an error text.
            ServerUnreachable, ProtocolError: as `open`; or one of the two refused a message as such; or the answer is broken.
        """
        return self._repeat(lambda until: self._send_and_receive(message, until), deadline)

    def drop(self) -> None:
        """Cuts the connection at once; the next request opens another."""
        opened, self._opened = self._opened, None
        if opened is not None:
            # Not by closing: that would wait for the server's goodbye, which a server that is late or broken does not say.
            shut(opened.connection.socket)
            opened.connection.close_socket()
            opened.send_limit.close()

    def close(self) -> None:
        """Says goodbye to the server."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.connection.close()
            opened.send_limit.close()

    def _repeat(self, attempt: Callable[[float], T], deadline: float) -> T:
        """Returns what `attempt(deadline)` returns; repeats it after a lost connection, and drops the connection after any error."""
        from websockets.exceptions import ConnectionClosed

        backoff_s = FIRST_BACKOFF_S
        for retries_left in reversed(range(self._max_retries + 1)):
            try:
                return attempt(deadline)
            except BaseException as error:
                self.drop()
                if isinstance(error, PolicyTrimError) or not isinstance(error, (ConnectionClosed, OSError)):
                    raise
                failure = self._explain(error)
                if isinstance(failure, ProtocolError) or not retries_left or time.monotonic() + backoff_s >= deadline:
                    raise failure from error
            time.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        raise AssertionError("the last attempt returns or raises")

    def _send_and_receive(self, message: bytes, until: float) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        connection, send_limit = self._connected(min(until, time.monotonic() + self._connect_timeout_s))
        try:
            send_limit.set(until)  # the library's send has no timeout: a server that has stopped reading would block it for ever
            try:
                connection.send(message)
            finally:
                send_limit.set(None)
            answer = connection.recv(timeout=max(0.0, until - time.monotonic()))
        except (TimeoutError, ConnectionClosed) as error:
            if isinstance(error, TimeoutError) or time.monotonic() >= until:
                raise InferenceTimeout(
                    f"{self.uri} gave no chunk in time; raise inference_timeout_s or --inference-timeout, or look at the server's load"
                ) from error
            raise
        return self._decoded(answer)

    def _connected(self, until: float) -> Opened:
        """Returns the open connection, or opens one and reads the metadata."""
        if self._opened is not None:
            return self._opened
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect

        try:
            # Entered and closed by hand: newer versions of the library warn of a connection that was never entered.
            connection = connect(
                self.uri,
                additional_headers=self._headers,
                compression=None,  # images do not shrink, and packing them takes longer than sending
                max_size=self._limits.max_bytes,
                open_timeout=max(0.001, until - time.monotonic()),
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,  # the official server answers no ping while it infers
                logger=QUIET,
            ).__enter__()
        except InvalidStatus as error:
            raise self._refused(error.response.status_code) from error
        except (InvalidHandshake, AssertionError) as error:  # the library asserts that a server does not speak first
            raise ProtocolError(f"{self.uri} does not speak websocket ({error}); is this the port of an openpi server?") from error
        self._opened = Opened(connection, SocketDeadline(connection.socket))
        try:
            metadata = connection.recv(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError as error:
            raise ProtocolError(f"{self.uri} sent no metadata in time; is this the port of an openpi server?") from error
        self.metadata = self._decoded(metadata)
        return self._opened

    def _decoded(self, data: bytes | str) -> dict[str, Any]:
        if isinstance(data, str):
            raise ServerFailed(f"{self.uri} answered with an error: {data.strip()}")
        try:
            return decode_map(data, self._limits)
        except ProtocolError as error:
            raise ProtocolError(f"{self.uri} sent no openpi message: {error}") from error

    def _refused(self, status: int) -> PolicyTrimError:
        if status in (401, 403):
            return ServerUnreachable(
                f"{self.uri} refused the API key (HTTP {status}); give the server's as api_key or in {API_KEY_VARIABLE}"
            )
        if status == 503:
            return ServerUnreachable(f"{self.uri} takes no new clients (HTTP 503): it is starting or stopping")
        return ProtocolError(f"{self.uri} answered HTTP {status} and no websocket; is this the port of an openpi server?")

    def _explain(self, error: Exception) -> PolicyTrimError:
        """Returns what a lost connection means."""
        frames = [getattr(error, name, None) for name in ("rcvd", "sent")]
        if any(frame is not None and frame.code in BREACHES for frame in frames):
            return ProtocolError(f"{self.uri}: a message was refused as such: {error}")
        if isinstance(error, OSError):
            reason = error.strerror or str(error) or type(error).__name__
            return ServerUnreachable(
                f"no policy server answers at {self.uri} ({reason}); start it, such as by policytrim serve, or correct host and port"
            )
        return ServerUnreachable(f"{self.uri} closed the connection without an answer ({error}); see the server's own log")


def check_uri(uri: str) -> None:
    """Raises UnknownPolicy unless the URI is ws://host:port or wss://host:port, perhaps with a path.

    >>> check_uri("wss://gpu-box:8000")
    """
    try:
        parts = urlsplit(uri)
        fits = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits:
        raise UnknownPolicy(f"a policy server is ws://host:port or wss://host:port, got {uri!r}")


def is_healthy(uri: str, timeout_s: float) -> bool:
    """Returns whether the server at a websocket URI answers GET /healthz with 200, on the same port."""
    check_uri(uri)
    parts = urlsplit(uri)
    kind = http.client.HTTPSConnection if parts.scheme == "wss" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
