"""Laws of the server: official clients get the policy's own chunks, together and one by one, and nobody's mistake is another's loss."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from line_env import LineEnv, slow_policy
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from openpi_servers import ACTION_DIM, CHUNK_SIZE, make_observation, make_policy, predict
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from policytrim_gym.errors import CannotListen, InvalidConfig, ProtocolError, ServerFailed, ServerUnreachable
from policytrim_gym.evaluation.evaluate import evaluate_policy
from policytrim_gym.policies.openpi import OpenpiPolicy
from policytrim_gym.policies.openpi_codec import MessageLimits, encode
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.serving.chunk_batcher import ChunkBatcher
from policytrim_gym.serving.openpi_server import OpenpiServer
from policytrim_gym.spec import PolicySpec
from policytrim_gym.testing import ChunkPolicyContract

pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")  # the official client's way to connect


@pytest.fixture(scope="module")
def server():
    with OpenpiServer(make_policy(), port=0) as running:
        yield running


def official_client(server, **settings) -> WebsocketClientPolicy:
    return WebsocketClientPolicy("127.0.0.1", server.port, **settings)


class CountingPolicy(CallablePolicy):
    """Keeps the sizes of its batches; a batch waits for `hold`."""

    def __init__(self) -> None:
        super().__init__(predict, PolicySpec(CHUNK_SIZE, ACTION_DIM))
        self.batches: list[int] = []
        self.hold = threading.Event()
        self.hold.set()

    def predict_action_chunks(self, observations):
        self.batches.append(len(observations))
        self.hold.wait(5)
        return super().predict_action_chunks(observations)


def test_the_official_client_gets_the_policys_chunks_and_metadata(server):
    client = official_client(server)
    assert client.get_server_metadata() == {
        "chunk_size": CHUNK_SIZE,
        "action_dim": ACTION_DIM,
        "execute_horizon": 4,
        "control_dt_s": 0.1,
        "action_kinds": ["delta"] * ACTION_DIM,
        "observation_shapes": {"state": [4], "image": [8, 8, 3]},
        "needs_instruction": False,
    }
    for index in range(3):
        answer = client.infer(make_observation(index))
        np.testing.assert_array_equal(answer["actions"], predict(make_observation(index)))
        assert answer["actions"].dtype == np.float32
        assert answer["server_timing"]["infer_ms"] > 0
        assert ("prev_total_ms" in answer["server_timing"]) == (index > 0)


def test_the_official_broker_plays_the_chunks(server):
    broker = ActionChunkBroker(official_client(server), action_horizon=4)
    played = [broker.infer(make_observation(step // 4))["actions"] for step in range(8)]
    np.testing.assert_array_equal(played, [*predict(make_observation(0))[:4], *predict(make_observation(1))[:4]])


def test_our_client_knows_the_whole_spec(server):
    with OpenpiPolicy(server.uri) as client:
        assert client.spec == make_policy().spec
        assert client.is_healthy()


class TestPolicyBehindTheSocket(ChunkPolicyContract):
    batch_tolerance = 0.0

    @pytest.fixture(autouse=True)
    def _server(self, server):
        self.uri = server.uri

    def make_policy(self):
        return OpenpiPolicy(self.uri)

    def make_observation(self, index):
        return make_observation(index)


def test_a_client_may_call_the_instruction_prompt():
    said = []
    policy = CallablePolicy(
        lambda observation: said.append(observation["instruction"]) or [[0.0]], PolicySpec(1, 1, needs_instruction=True)
    )
    with OpenpiServer(policy, port=0) as server:
        official_client(server).infer({"prompt": "open the door"})
    assert said == ["open the door"]


def test_eight_clients_lose_nothing():
    policy = CountingPolicy()
    with OpenpiServer(policy, port=0) as server:

        def ask(client_index):
            client = official_client(server)
            return [client.infer(make_observation(100 * client_index + step))["actions"] for step in range(20)]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
    expected = [[predict(make_observation(100 * client + step)) for step in range(20)] for client in range(8)]
    np.testing.assert_array_equal(answers, expected)
    assert sum(policy.batches) == 160


def test_what_arrives_while_the_policy_computes_is_one_batch():
    policy = CountingPolicy()
    policy.hold.clear()
    with ChunkBatcher(policy) as batcher:
        futures = [batcher.submit(make_observation(0))]
        while not policy.batches:
            time.sleep(0.001)
        futures += [batcher.submit(make_observation(index)) for index in range(1, 6)]
        policy.hold.set()
        chunks = [future.result(5).chunk.actions for future in futures]
    assert policy.batches == [1, 5]
    np.testing.assert_array_equal(chunks, [predict(make_observation(index)) for index in range(6)])


def test_a_batch_waits_for_all_clients_and_no_longer_than_told():
    policy = CountingPolicy()
    with ChunkBatcher(policy, max_wait_s=5.0, max_batch=2, expected=lambda: 2) as batcher:
        start = time.monotonic()
        for future in [batcher.submit(make_observation(index)) for index in range(4)]:
            future.result(5)
        assert time.monotonic() - start < 2.0
    assert policy.batches == [2, 2]
    for wrong in ({"max_wait_s": -1.0}, {"max_batch": 0}):
        with pytest.raises(InvalidConfig, match=next(iter(wrong))):
            ChunkBatcher(policy, **wrong)


def test_one_observation_that_breaks_a_batch_fails_alone():
    policy = CountingPolicy()
    policy.hold.clear()
    with ChunkBatcher(policy) as batcher:
        futures = [batcher.submit(make_observation(index)) for index in range(2)] + [batcher.submit({"image": np.zeros(3)})]
        policy.hold.set()
        np.testing.assert_array_equal(futures[1].result(5).chunk.actions, predict(make_observation(1)))
        assert isinstance(futures[2].exception(5), KeyError)


@pytest.mark.parametrize(
    "message, reason",
    [
        (encode({"state": np.zeros(4, np.float32)}), 'MissingObservation: observation lacks the key "image"'),
        (encode({**make_observation(0), "state": np.zeros(5)}), r"must have shape \(4,\), got \(5,\)"),
        (encode({**make_observation(0), "state": np.full(4, np.nan)}), "must be finite"),
        (encode([1, 2]), "must be a map"),
        (b"GIF89a", "ProtocolError"),
        ("hello", "must be a binary frame"),
        (b"\xdd\x00\x0f\xff\xff" * 500, "more than 65536 values"),
    ],
    ids="missing-key shape nan list not-msgpack text bomb".split(),
)
def test_a_wrong_request_gets_one_line_of_text_and_the_official_close_code(server, message, reason):
    with connect(server.uri, compression=None) as client:
        client.recv()
        client.send(message)
        text = client.recv()
        assert isinstance(text, str) and "\n" not in text and re.search(reason, text)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
        assert closed.value.rcvd.code == 1011
    with OpenpiPolicy(server.uri) as healthy:
        np.testing.assert_array_equal(healthy.predict_action_chunk(make_observation(0)).actions, predict(make_observation(0)))


def test_a_policys_error_reaches_the_clients_as_text_and_the_server_goes_on(caplog):
    broken = threading.Event()
    broken.set()

    def function(observation):
        if broken.is_set():
            raise RuntimeError("CUDA out of\nmemory")
        return predict(observation)

    with OpenpiServer(CallablePolicy(function, PolicySpec(CHUNK_SIZE, ACTION_DIM)), port=0) as server, OpenpiPolicy(server.uri) as client:
        with pytest.raises(ServerFailed, match="RuntimeError: CUDA out of memory"):
            client.predict_action_chunk(make_observation(0))
        with pytest.raises(RuntimeError, match="Error in inference server:\nRuntimeError"):
            official_client(server).infer(make_observation(0))
        broken.clear()
        client.predict_action_chunk(make_observation(0))
    assert "Traceback" in caplog.text  # on the server's side only


def test_a_key_is_asked_of_every_client_and_of_no_health_check():
    with OpenpiServer(make_policy(), port=0, api_key="secret") as server:
        with OpenpiPolicy(server.uri, api_key="secret") as client:
            assert client.is_healthy()
        assert official_client(server, api_key="secret").infer(make_observation(0))
        for wrong in ("guess", None):
            with pytest.raises(ServerUnreachable, match=r"refused the API key \(HTTP 401\)"):
                OpenpiPolicy(server.uri, api_key=wrong)
            with pytest.raises(InvalidStatus):
                official_client(server, api_key=wrong)


def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENPI_API_KEY", "secret")
    with OpenpiServer(make_policy(), port=0, api_key="secret") as server:
        OpenpiPolicy(server.uri).close()


def test_a_page_of_a_browser_cannot_connect(server):
    with pytest.raises(InvalidStatus, match="403"), connect(server.uri, origin="http://evil.example"):
        pass


def test_a_message_beyond_the_limit_is_refused_and_not_repeated():
    with OpenpiServer(make_policy(), port=0, limits=MessageLimits(max_bytes=1000)) as server, OpenpiPolicy(server.uri) as client:
        with pytest.raises(ProtocolError, match="too big|1009"):
            client.predict_action_chunk({**make_observation(0), "more": np.zeros(1000)})
        client.predict_action_chunk(make_observation(0))


def test_a_stop_answers_what_is_in_flight_and_frees_the_port():
    policy = CountingPolicy()
    policy.hold.clear()
    server = OpenpiServer(policy, port=0)
    server.start()
    client = OpenpiPolicy(server.uri, max_retries=0)
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(client.predict_action_chunk, make_observation(0))
        while not policy.batches:
            time.sleep(0.001)
        stopped = pool.submit(server.stop)
        time.sleep(0.05)
        policy.hold.set()
        np.testing.assert_array_equal(asked.result(5).actions, predict(make_observation(0)))
        stopped.result(5)
    assert not client.is_healthy()
    with pytest.raises(ServerUnreachable):
        client.predict_action_chunk(make_observation(0))
    with OpenpiServer(make_policy(), port=server.port), pytest.raises(CannotListen, match=f"127.0.0.1:{server.port}"):
        OpenpiServer(make_policy(), port=server.port).start()


def test_a_client_goes_on_when_the_server_came_back():
    server = OpenpiServer(make_policy(), port=0)
    server.start()
    with OpenpiPolicy(server.uri) as client:
        server.stop()
        with OpenpiServer(make_policy(), port=server.port):
            np.testing.assert_array_equal(client.predict_action_chunk(make_observation(0)).actions, predict(make_observation(0)))


def test_an_evaluation_through_the_socket_has_the_episodes_of_the_policy_in_process():
    policy = slow_policy()

    def episodes(evaluated):
        report = evaluate_policy(evaluated, LineEnv, 2, num_episodes=4, seed=3, num_workers=0)
        return [(record.success, record.steps, record.num_replans) for record in report.episodes]

    with OpenpiServer(policy, port=0) as server, OpenpiPolicy(server.uri) as client:
        assert client.spec == policy.spec
        assert episodes(client) == episodes(policy)
        observation = {"state": np.array([0.2, 1.7], np.float32), "instruction": LineEnv.instruction}
        np.testing.assert_array_equal(client.predict_action_chunk(observation).actions, policy.predict_action_chunk(observation).actions)
        assert client.latency.num_calls > 4
