"""What the blocking client promises."""

from __future__ import annotations

import array
import gc
import logging
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from conftest import PATIENCE, eventually
from netcluster import (
    BrokerNotRunning,
    Client,
    ConnectError,
    Disconnected,
    EncodingError,
    InvalidName,
    Lost,
    NetclusterError,
    PayloadTooLarge,
    Timeout,
)


def heard_by(client, pattern):
    """Listens; returns what waits for the next message."""
    heard = queue.Queue()
    client.on(pattern, heard.put)
    return lambda: heard.get(timeout=PATIENCE)


def test_a_broker_that_is_not_there_is_an_error_that_says_how_to_start_one():
    with pytest.raises(BrokerNotRunning, match="netcluster serve") as raised:
        Client("/nowhere/broker.sock")
    assert raised.value.code == "BROKER_NOT_RUNNING"
    assert isinstance(raised.value, (NetclusterError, ConnectionError))


def test_paths_and_names_that_cannot_be_are_told_as_what_they_are(broker):
    with pytest.raises(ConnectError, match="the path is empty: give that"):
        Client("", wait_for_broker=10 * PATIENCE)
    with pytest.raises(ConnectError, match="the path has 205 bytes, and that of a socket at most"):
        Client("/tmp/" + "x" * 200, wait_for_broker=10 * PATIENCE)
    for name in ("", "x" * 256):
        with pytest.raises(InvalidName, match="channel name refused: a name"):
            Client(broker.socket, channel=name)
    with pytest.raises(InvalidName, match="client name refused: a name of 256 bytes"):
        Client(broker.socket, name="x" * 256)
    with pytest.raises(TypeError, match="path"):
        Client(5)


def test_what_a_block_raised_is_not_hidden_by_its_disconnecting(own_broker):
    try:
        with pytest.raises(Timeout):
            with Client(own_broker.socket, disconnect_timeout=0.1):
                own_broker.pause()
        own_broker.resume()
        with pytest.raises(ZeroDivisionError):
            with Client(own_broker.socket, disconnect_timeout=0.1):
                own_broker.pause()
                1 / 0
    finally:
        own_broker.resume()


@pytest.mark.parametrize(
    ("given", "encoding", "data", "payload"),
    [
        (b"\0\xff", "bytes", b"\0\xff", b"\0\xff"),
        (bytearray(b"ab"), "bytes", b"ab", b"ab"),
        (memoryview(b"abcd")[::2], "bytes", b"ac", b"ac"),
        (array.array("H", [1, 2]), "bytes", b"\1\0\2\0", b"\1\0\2\0"),
        ("grüß", "text", "grüß", "grüß".encode()),
        ("", "text", "", b""),
        ({"a": [1, None, "ü"]}, "json", {"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'.encode()),
        (None, "json", None, b"null"),
        (True, "json", True, b"true"),
        (1.5, "json", 1.5, b"1.5"),
        (2**70, "json", 2**70, str(2**70).encode()),
        ((1, 2), "json", [1, 2], b"[1,2]"),
    ],
)
def test_data_arrives_as_what_it_was(connect, given, encoding, data, payload):
    listener, emitter = connect(), connect()
    heard = heard_by(listener, "data")
    emitter.emit("data", given)
    message = heard()
    assert (message.encoding, message.data, message.payload) == (encoding, data, payload)
    assert bytes(message) == bytes(message.view()) == payload
    assert len(message) == len(payload)
    assert (message.event, message.source) == ("data", emitter.source)
    assert message.sequence == emitter.last_sequence == 1
    assert "data" in repr(message)


def test_no_data_is_no_bytes(connect):
    heard = heard_by(connect(), "nothing")
    connect().emit("nothing")
    message = heard()
    assert (message.encoding, message.data) == ("bytes", b"")


def test_what_cannot_be_emitted_is_refused_and_harms_nothing(connect):
    client, heard = connect(), heard_by(connect(), "after")
    cyclic: list = []
    cyclic.append(cyclic)
    for value in (object(), {1, 2}, float("nan"), cyclic, {"a": object()}, "\ud800", lambda: 1):
        with pytest.raises(EncodingError):
            client.emit("a", value)
    with pytest.raises(PayloadTooLarge, match="max-payload"):
        client.emit("a", bytes(client.max_payload + 1))
    for name in ("", "a.*", "x" * 1000):
        with pytest.raises(InvalidName):
            client.emit(name, b"")
    with pytest.raises(InvalidName):
        client.on("log.>", print)
    for name in (None, 1, b"a"):
        with pytest.raises(TypeError):
            client.emit(name, b"")
    with pytest.raises(TypeError, match="callable"):
        client.on("a", 5)
    client.emit("after", b"")
    assert heard().sequence == 1


def test_a_wrong_claim_raises_where_it_is_read_alone(connect):
    subscription = connect().subscribe("claim")
    emitter = connect()
    emitter.emit_encoded("claim", "text", b"\xff{")
    emitter.emit_encoded("claim", "json", bytearray(b"\xff{"))
    emitter.emit_encoded("claim", "json", b" [1] ")
    for encoding in ("text", "json"):
        message = subscription.next(PATIENCE)
        assert (message.encoding, message.payload) == (encoding, b"\xff{")
        for read in (lambda: message.data, message.text, message.json):
            with pytest.raises(EncodingError):
                read()
    assert subscription.next(PATIENCE).data == [1]
    for text in (b"NaN", b"[Infinity]", b"", b"[1", b"\xff", b"[" * 100_000):
        emitter.emit_encoded("claim", "json", text)
        with pytest.raises(EncodingError):
            subscription.next(PATIENCE).json()
    with pytest.raises(ValueError, match="yaml"):
        emitter.emit_encoded("claim", "yaml", b"")
    with pytest.raises(TypeError):
        emitter.emit_encoded("claim", "text", "text")


def test_a_view_is_not_copied_and_keeps_its_message(connect):
    subscription = connect().subscribe("large")
    connect().emit("large", bytes(range(256)) * 1024)
    message = subscription.next(PATIENCE)
    view = message.view()
    assert view.readonly and view.nbytes == 256 * 1024
    del message, subscription
    gc.collect()
    assert bytes(view[:256]) == bytes(range(256))
    assert view[-1] == 255


def test_listeners_come_and_go(connect):
    client, other = connect(), connect()
    heard = []

    @client.on("a.*")
    def first(message):
        heard.append(("first", message.data))

    client.once("a.b", lambda message: heard.append(("once", message.data)))
    client.prepend_listener("a.**", lambda message: heard.append(("before", message.data)))
    assert client.event_names() == ["a.*", "a.**", "a.b"]
    other.emit("a.b", 1)
    other.emit("a.b", 2)
    eventually(lambda: len(heard) == 5)
    assert heard == [("before", 1), ("first", 1), ("once", 1), ("before", 2), ("first", 2)]
    assert client.off("a.*", first) and not client.off("a.*", first)
    assert client.listener_count("a.*") == 0
    assert client.remove_all_listeners() == 1
    last = heard_by(client, "a.b")
    other.emit("a.b", 3)
    assert last().data == 3 and len(heard) == 5


def test_a_removed_listener_is_not_called_for_what_waits(connect):
    client, other = connect(), connect()
    heard, go_on = [], threading.Event()

    def listener(message):
        heard.append(message.data)
        assert go_on.wait(PATIENCE)
        client.off("a", listener)

    client.on("a", listener)
    other.emit_many("a", range(100))
    other.ping()
    go_on.set()
    end = heard_by(client, "end")
    other.emit("end")
    end()
    assert heard == [0]


def test_a_listener_that_raises_stays_and_is_reported(connect):
    reported: queue.Queue = queue.Queue()
    client = connect(on_error=lambda error, message: reported.put((error, message)))
    other = connect()
    client.on("a", lambda message: 1 / message.data)
    other.emit("a", 0)
    error, message = reported.get(timeout=PATIENCE)
    assert isinstance(error, ZeroDivisionError) and message.data == 0
    other.emit("a", "text")
    assert isinstance(reported.get(timeout=PATIENCE)[0], TypeError)

    plain, unraisable = connect(), queue.Queue()
    before, sys.unraisablehook = sys.unraisablehook, unraisable.put
    try:
        plain.on("b", lambda message: 1 / 0)
        other.emit("b")
        assert unraisable.get(timeout=PATIENCE).exc_type is ZeroDivisionError
    finally:
        sys.unraisablehook = before


def test_a_listener_may_call_everything_while_its_inbox_is_full(connect):
    """The reader waits for a listener that is slow, and the answers come by it as well."""
    client, other = connect(), connect()
    done = queue.Queue()
    block = bytes(64 << 10)

    def listener(message):
        if message.sequence == 1:
            other_is_full.wait(PATIENCE)
            client.ping()
            client.on("more", print)
            with client.subscribe("others"):
                done.put(client.status()["totals"]["clients"])

    other_is_full = threading.Event()
    client.on("block", listener)
    emitter = threading.Thread(target=lambda: [other.emit("block", block) for _ in range(500)])
    emitter.start()
    eventually(lambda: other.last_sequence > 60)
    other_is_full.set()
    assert done.get(timeout=PATIENCE) >= 2
    emitter.join()
    other.ping()


def test_iterating_and_batches(connect):
    client, other = connect(), connect()
    subscription = client.subscribe("n")
    batches = client.batches("n")
    other.emit_many("n", range(1000))
    for expected, message in zip(range(1000), subscription):
        assert message.data == expected
    taken: list = []
    for batch in batches:
        assert batch
        taken.extend(message.data for message in batch)
        if len(taken) == 1000:
            break
    assert taken == list(range(1000))
    assert subscription.next(0.01) is None and subscription.take(10, 0) == []
    client.disconnect()
    assert subscription.take() is None and list(subscription) == []
    with pytest.raises(ValueError):
        subscription.next(-1)


def test_latest_loses_the_oldest_and_says_so(connect, caplog):
    client, other = connect(latest=True, shared_memory=False), connect()
    events = client.subscribe("block", losses=True)
    block = bytes(64 << 10)
    for _ in range(1024):
        other.emit("block", block)
    other.ping()
    expected, lost = 1, 0
    with caplog.at_level(logging.WARNING, "netcluster"):
        while expected <= 1024:
            item = events.next(PATIENCE)
            if isinstance(item, Lost):
                assert item.reason == "overflow" and "missing" in str(item)
                assert item.source == other.source
                expected += item.count
                lost += item.count
                continue
            assert item.sequence == expected
            expected += 1
    assert lost > 0


def test_emit_waits_for_a_slow_listener_without_the_interpreters_lock(connect):
    client, other = connect(), connect()
    events = client.subscribe("block")
    block = bytes(64 << 10)
    refused = threading.Event()

    def emit():
        for _ in range(1000):
            if not other.try_emit("block", block):
                refused.set()
                other.emit("block", block)

    emitter = threading.Thread(target=emit)
    emitter.start()
    assert refused.wait(PATIENCE)
    for expected in range(1, 1001):
        assert events.next(PATIENCE).sequence == expected
    emitter.join(PATIENCE)
    assert not emitter.is_alive()


def test_a_lost_connection_comes_back_with_its_listeners(own_broker, connect, caplog):
    told: queue.Queue = queue.Queue()
    client = connect(own_broker.socket)
    client.on_lifecycle(told.put)
    heard = heard_by(client, "a")
    own_broker.kill()
    gone = told.get(timeout=PATIENCE)
    assert gone.kind == "disconnect" and gone.confirmed == 0
    own_broker.start()
    while True:
        event = told.get(timeout=PATIENCE)
        if event.kind == "connect":
            break
    assert event.resumed and event.source == client.source
    connect(own_broker.socket).emit("a", "again")
    assert heard().data == "again"
    client.disconnect()
    kinds = [told.get(timeout=PATIENCE).kind for _ in range(3)]
    assert kinds == ["lost", "disconnect", "closed"]
    eventually(lambda: any(record.name == "netcluster" for record in caplog.records))


def test_after_disconnect_everything_says_so(connect):
    client = connect()
    heard = []
    client.on("own", heard.append)
    client.disconnect()
    client.disconnect()
    assert client.is_closed and client.wait(0)
    for call in (
        lambda: client.emit("a"),
        lambda: client.on("a", print),
        lambda: client.subscribe("a"),
        client.ping,
        client.status,
    ):
        with pytest.raises(Disconnected, match="connect anew"):
            call()


def test_disconnect_waits_for_what_came(connect):
    client, other = connect(), connect()
    heard = []
    client.on("n", heard.append)
    other.emit_many("n", range(5000))
    other.disconnect()
    client.disconnect()
    assert len(heard) == 5000


def test_options_reach_the_broker(connect, broker):
    client = connect(channel="of-python", name="a name", echo=True, spin=0, max_queue=32 << 20)
    own = heard_by(client, "own")
    client.emit("own")
    own()
    status = client.status()
    assert any(client["name"] == "a name" for client in status["clients"])
    assert client.audience("own") == (1, 0)
    page = client.control({"do": "clients", "limit": 1000})
    assert any(client["name"] == "a name" for client in page["clients"])
    with pytest.raises(NetclusterError, match="dance"):
        client.control({"do": "dance"})
    assert str(client.socket) == broker.socket
    with pytest.raises(TypeError, match="no option `chanel`"):
        connect(chanel="a")
    with pytest.raises(TypeError, match="channel"):
        connect(channel=5)
    with pytest.raises(ValueError):
        connect(connect_timeout=-1)


def test_a_client_that_nobody_holds_ends(connect):
    probe = connect()
    count = lambda: probe.status()["totals"]["clients"]  # noqa: E731
    before = count()
    client = Client(probe.socket)
    client.on("a", print)
    assert count() == before + 1
    del client
    gc.collect()
    eventually(lambda: count() == before)


def run(broker, code, **options):
    """Runs a program with a broker; it must end by itself."""
    environment = dict(os.environ, NETCLUSTER_SOCKET=broker.socket)
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        **options,
    )


def test_a_forked_child_must_connect_anew(broker, connect):
    heard = heard_by(connect(), "from.*")
    ended = run(
        broker,
        """
        import multiprocessing, netcluster

        client = netcluster.Client()
        events = client.subscribe("a")
        client.on("b", print)

        def child():
            for call in (lambda: client.emit("a"), lambda: events.next(1), client.disconnect):
                try:
                    call()
                except netcluster.Forked as error:
                    assert "connect anew" in str(error)
                else:
                    raise SystemExit("it did not raise")
            with netcluster.Client() as own:
                own.emit("from.child", 1)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        client.emit("from.parent", 2)
        """,
    )
    assert ended.returncode == 0, ended.stderr
    assert [heard().data, heard().data] == [1, 2]


@pytest.mark.parametrize(
    "waits",
    [
        "",
        "client.subscribe('a'); threading.Thread(target=client.wait, daemon=True).start()",
        "threading.Thread(target=list, args=[client.subscribe('a')], daemon=True).start()",
        "client.on('a', lambda message: time.sleep(0.2)); client.emit_many('a', range(3))",
    ],
)
def test_the_interpreter_ends_and_what_was_emitted_arrives(broker, connect, waits):
    heard = heard_by(connect(), "last")
    code = f"import netcluster, threading, time\nclient = netcluster.Client(echo=True)\n{waits}\n"
    ended = run(broker, code + "client.emit('last', 'words')")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert heard().data == "words"


@pytest.mark.parametrize("ends", ["", "client.disconnect()", "del client"])
def test_the_interpreter_ends_with_a_listener_that_is_far_behind(broker, ends):
    code = """
    import netcluster, threading, time
    client = netcluster.Client(echo=True, disconnect_timeout=0.2)
    began = threading.Event()

    def slow(message):
        began.set()
        time.sleep(0.01)

    client.on("a", slow)
    client.emit_many("a", range(500))
    client.flush()
    began.wait()
    """
    ended = run(broker, textwrap.dedent(code) + ends)
    assert (ended.returncode, ended.stderr) == (0, "")
