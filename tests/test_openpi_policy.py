"""Laws of the openpi client: any server of the protocol will do, and none makes it hang or take a wrong chunk."""

from __future__ import annotations

import base64
import hashlib
import threading
import time

import numpy as np
import pytest
from openpi_client import msgpack_numpy
from openpi_servers import ACTION_DIM, CHUNK_SIZE, answering, free_port, make_observation, predict, tcp_server, websocket_server

from policytrim_gym.cli.main import main
from policytrim_gym.errors import (
    InferenceTimeout,
    InvalidChunk,
    InvalidConfig,
    InvalidSpec,
    MissingObservation,
    ProtocolError,
    ServerFailed,
    ServerUnreachable,
    UnknownPolicy,
)
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policies.openpi import OpenpiPolicy
from policytrim_gym.policies.openpi_codec import MessageLimits
from policytrim_gym.spec import PolicySpec

SIZES = {"chunk_size": CHUNK_SIZE, "action_dim": ACTION_DIM}


def official(observation):
    return {"actions": predict(observation), "server_timing": {"infer_ms": 2.0}}


def test_a_server_of_the_official_protocol_gives_the_same_chunks():
    with websocket_server(answering(official)) as uri, OpenpiPolicy(uri, **SIZES) as policy:
        assert (policy.spec.chunk_size, policy.spec.horizon) == (CHUNK_SIZE, CHUNK_SIZE)
        observations = [make_observation(index) for index in range(5)]
        chunks = policy.predict_action_chunks(observations)
        np.testing.assert_array_equal([chunk.actions for chunk in chunks], [predict(observation) for observation in observations])
        latency = policy.latency
        assert latency.num_calls == 5 and latency.server_p50_s == 0.002
        assert 0 < latency.p50_s <= latency.p99_s


def test_the_spec_is_the_metadatas_then_the_arguments_then_the_first_answers():
    served = {**SIZES, "execute_horizon": 2, "control_dt_s": 0.05, "observation_shapes": {"state": [None]}, "needs_instruction": True}
    with websocket_server(answering(official, {**served, "action_kinds": ["delta"] * ACTION_DIM})) as uri:
        with OpenpiPolicy(uri, control_dt_s=0.5) as policy:
            assert (policy.spec.horizon, policy.spec.control_dt_s, policy.spec.action_kinds) == (2, 0.05, ("delta",) * ACTION_DIM)
            with pytest.raises(MissingObservation, match="instruction"):
                policy.predict_action_chunk(make_observation(0))
        with OpenpiPolicy(uri, execute_horizon=5) as policy:
            assert policy.spec.horizon == 5
        with pytest.raises(InvalidSpec, match="the server's action_dim is 3, 7 was given"):
            OpenpiPolicy(uri, action_dim=7)
    with websocket_server(answering(official, {"reset_pose": np.zeros(3)})) as uri, OpenpiPolicy(uri, execute_horizon=3) as policy:
        with pytest.raises(InvalidSpec, match="does not say its chunk_size and action_dim"):
            _ = policy.spec
        policy.predict_action_chunk(make_observation(0))
        assert (policy.spec.chunk_size, policy.spec.action_dim, policy.spec.horizon) == (CHUNK_SIZE, ACTION_DIM, 3)


@pytest.mark.parametrize(
    "metadata, error", [({"chunk_size": "many", "action_dim": 2}, InvalidSpec), ({**SIZES, "action_kinds": 3}, ProtocolError)]
)
def test_metadata_that_are_no_sizes_are_refused(metadata, error):
    with websocket_server(answering(official, metadata)) as uri, pytest.raises(error, match=f"^{uri}: what its metadata "):
        OpenpiPolicy(uri)


def test_the_uri_loads_the_policy():
    with websocket_server(answering(official, SIZES)) as uri:
        policy = load_policy(uri)
        assert policy.predict_action_chunk(make_observation(1)).actions.shape == (CHUNK_SIZE, ACTION_DIM)
        policy.close()
    with websocket_server(answering(official)) as uri:
        policy = load_policy(uri, PolicySpec(CHUNK_SIZE, ACTION_DIM, control_dt_s=0.1))
        assert (policy.spec.chunk_size, policy.spec.control_dt_s) == (CHUNK_SIZE, 0.1)
        policy.close()
    for uri in ("http://localhost:8000", "ws://", "ws://host:port"):
        with pytest.raises(UnknownPolicy, match="ws://host:port"):
            load_policy(uri)


def nan_actions(observation):
    actions = predict(observation)
    actions[2, 1] = np.nan
    return {"actions": actions}


OBJECTS = {b"__ndarray__": True, b"data": b"\x80\x04K\x01.", b"dtype": "|O", b"shape": [1]}
BOMB = b"\xdd\x00\x0f\xff\xff" * 500


@pytest.mark.parametrize(
    "answer, error, reason",
    [
        (nan_actions, InvalidChunk, "finite, got nan at step 2, dimension 1"),
        (lambda _: {"actions": np.zeros((CHUNK_SIZE, 7))}, InvalidChunk, r"shape \(6, 3\) \(chunk_size, action_dim\), got \(6, 7\)"),
        (lambda _: {"actions": np.zeros((1, CHUNK_SIZE, ACTION_DIM))}, InvalidChunk, "got \\(1, 6, 3\\)"),
        (lambda _: {"action": np.zeros((CHUNK_SIZE, ACTION_DIM))}, ProtocolError, r"\"actions\", got NoneType; its keys are \['action'\]"),
        (lambda _: {"actions": np.full((CHUNK_SIZE, ACTION_DIM), "up")}, ProtocolError, "got an array of <U2"),
        (lambda _: {"actions": OBJECTS}, ProtocolError, r"dtype '\|O'"),
        (lambda _: BOMB, ProtocolError, "more than 65536 values"),
        (lambda _: msgpack_numpy.packb({"actions": np.zeros((CHUNK_SIZE, ACTION_DIM))})[:-3], ProtocolError, "ends early"),
        (lambda _: b"GIF89a", ProtocolError, "5 bytes too many"),
        (lambda _: bytes(2000), ProtocolError, "refused"),
        (lambda _: "Traceback:\n  no key 'state'", ServerFailed, "answered with an error: Traceback"),
    ],
    ids="nan size rank key text objects bomb truncated not-msgpack too-big error-frame".split(),
)
def test_a_wrong_answer_is_an_error_and_the_next_right_one_a_chunk(answer, error, reason):
    answers = [answer, official]
    handler = answering(lambda observation: answers.pop(0)(observation))
    with (
        websocket_server(handler) as uri,
        OpenpiPolicy(uri, **SIZES, limits=MessageLimits(max_bytes=1000 if reason == "refused" else 10**6)) as policy,
    ):
        with pytest.raises(error, match=f"^{uri}.*{reason}"):  # with several servers, whose error it is
            policy.predict_action_chunk(make_observation(0))
        np.testing.assert_array_equal(policy.predict_action_chunk(make_observation(1)).actions, predict(make_observation(1)))


def test_the_command_line_waits_as_long_as_it_is_told(capsys):
    released = threading.Event()

    def late(observation):
        released.wait(5)
        return {"actions": np.zeros((4, 1), np.float32)}

    arguments = ["--env", "Pendulum-v1", "--env-kwargs", "max_episode_steps=4", "--episodes", "1", "--workers", "0"]
    with websocket_server(answering(late, {"chunk_size": 4, "action_dim": 1})) as uri:
        assert main(["evaluate", "--policy", uri, *arguments, "--inference-timeout", "0.2"]) == 1
        assert f"{uri} gave no chunk in time; raise inference_timeout_s or --inference-timeout" in capsys.readouterr().err
        released.set()
        assert main(["evaluate", "--policy", uri, *arguments]) == 0


def test_a_slow_server_is_left_at_the_timeout_and_its_late_answer_is_no_later_chunk():
    released = threading.Event()

    def slow_first(observation):
        if not released.is_set():
            released.wait(5)
        return official(observation)

    with websocket_server(answering(slow_first)) as uri, OpenpiPolicy(uri, **SIZES, inference_timeout_s=0.3) as policy:
        start = time.monotonic()
        with pytest.raises(InferenceTimeout, match="raise inference_timeout_s"):
            policy.predict_action_chunk(make_observation(0))
        assert time.monotonic() - start < 1.0
        released.set()
        np.testing.assert_array_equal(policy.predict_action_chunk(make_observation(1)).actions, predict(make_observation(1)))


def accept_websocket(client) -> None:
    """The handshake of RFC 6455 and empty metadata, by hand."""
    request = client.recv(4096).decode()
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    client.sendall(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    client.sendall(b"\x82\x01\x80")


def test_a_server_that_stops_reading_does_not_block_a_large_observation():
    ended = threading.Event()

    def deaf(client):
        accept_websocket(client)
        ended.wait(5)

    with tcp_server(deaf) as uri, OpenpiPolicy(uri, **SIZES, inference_timeout_s=0.5, max_retries=0) as policy:
        start = time.monotonic()
        with pytest.raises(InferenceTimeout):
            policy.predict_action_chunk({"image": np.zeros((30_000_000,), np.uint8)})
        assert time.monotonic() - start < 2.0
        ended.set()


def test_half_a_message_is_asked_again_on_another_connection_and_at_last_given_up():
    num_connections = 0

    def half(client):
        nonlocal num_connections
        num_connections += 1
        accept_websocket(client)
        client.recv(4096)
        client.sendall(b"\x82\x7e\x01\x00" + bytes(100))  # announces 256 bytes

    with tcp_server(half) as uri, OpenpiPolicy(uri, **SIZES, max_retries=2) as policy:
        with pytest.raises(ServerUnreachable, match="closed the connection without an answer"):
            policy.predict_action_chunk({"state": np.zeros(4)})
        assert num_connections == 3


def test_a_lost_connection_is_opened_again_for_the_same_observation():
    num_requests = 0

    def lose_the_first(connection):
        nonlocal num_requests
        connection.send(msgpack_numpy.packb({}))
        for message in connection:
            num_requests += 1
            if num_requests == 1:
                connection.socket.close()
                return
            connection.send(msgpack_numpy.packb(official(msgpack_numpy.unpackb(message))))

    with websocket_server(lose_the_first) as uri, OpenpiPolicy(uri, **SIZES) as policy:
        np.testing.assert_array_equal(policy.predict_action_chunk(make_observation(0)).actions, predict(make_observation(0)))
        assert num_requests == 2


def test_no_server_a_web_server_and_a_silent_one_are_told_apart():
    with pytest.raises(ServerUnreachable, match="no policy server answers at .*refused.*policytrim serve"):
        OpenpiPolicy(f"ws://127.0.0.1:{free_port()}", max_retries=1)

    def web(client):
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    def mail(client):
        client.recv(4096)
        client.sendall(b"220 mail ready\r\n")

    for handler, reason in ((web, "HTTP 200 and no websocket"), (mail, "does not speak websocket")):
        with tcp_server(handler) as uri, pytest.raises(ProtocolError, match=reason):
            OpenpiPolicy(uri)

    def silent(connection):
        connection.recv()

    start = time.monotonic()
    with websocket_server(silent) as uri, pytest.raises(ProtocolError, match="sent no metadata in time"):
        OpenpiPolicy(uri, connect_timeout_s=0.2)
    hold = threading.Event()
    with tcp_server(lambda client: hold.wait(2)) as uri, pytest.raises(ServerUnreachable, match="timed out"):
        OpenpiPolicy(uri, connect_timeout_s=0.2)
    hold.set()
    assert time.monotonic() - start < 2.0


@pytest.mark.parametrize("first", ["server overloaded", b"\x93\x01\x02\x03", b"\xc1"])
def test_metadata_that_are_none_are_an_error(first):
    with websocket_server(lambda connection: connection.send(first)) as uri, pytest.raises((ServerFailed, ProtocolError)):
        OpenpiPolicy(uri)


@pytest.mark.parametrize("wrong", [{"inference_timeout_s": 0}, {"connect_timeout_s": float("inf")}, {"max_retries": -1}])
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InvalidConfig, match=next(iter(wrong))):
        OpenpiPolicy("ws://localhost:1", **wrong)
