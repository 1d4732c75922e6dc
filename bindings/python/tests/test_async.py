"""What the client for asyncio promises."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from conftest import PATIENCE
from netcluster import AsyncClient, BrokerNotRunning, Client, Disconnected, InvalidName, Lost


def run(test):
    """Runs a test on a loop of its own; what hangs ends."""

    def runs(broker):
        asyncio.run(asyncio.wait_for(test(broker), 2 * PATIENCE))

    runs.__name__ = test.__name__
    return runs


@run
async def test_emit_and_listen(broker):
    async with AsyncClient(broker.socket) as client, AsyncClient(broker.socket) as other:
        heard = asyncio.Queue()
        thread = threading.get_ident()
        await client.on("a.*", lambda message: heard.put_nowait((message.data, threading.get_ident())))
        await client.once("a.b", lambda message: heard.put_nowait("once"))
        await other.emit("a.b", {"n": 1})
        await other.emit("a.c")
        assert await heard.get() == ({"n": 1}, thread)
        assert await heard.get() == "once"
        assert await heard.get() == (b"", thread)
        assert client.listener_count("a.*") == 1 and client.event_names() == ["a.*"]
        assert client.remove_all_listeners() == 1
        assert await other.audience("a.b") == (0, 0)
        assert (await other.status())["totals"]["clients"] >= 2
        assert (await other.control({"do": "totals"}))["totals"]["clients"] >= 2
        assert await other.ping() > 0
        await other.flush()
        await other.wait_for_cluster(PATIENCE)
    assert client.is_closed


@run
async def test_messages_in_a_loop_and_in_batches(broker):
    async with AsyncClient(broker.socket) as client, AsyncClient(broker.socket) as other:
        async with client.subscribe("n") as events, client.subscribe("n") as again:
            for number in range(3000):
                await other.emit("n", number)
            expected = 0
            async for message in events:
                assert message.data == expected
                expected += 1
                if expected == 3000:
                    break
            taken = []
            while len(taken) < 3000:
                taken += [message.data for message in await again.take(100)]
            assert taken == list(range(3000))

        batches = client.batches("m")
        first = asyncio.ensure_future(batches.__anext__())
        while not await other.audience("m") == (1, 0):
            await asyncio.sleep(0.001)
        for number in range(100):
            await other.emit("m", number)
        numbers = [message.data for message in await first]
        while len(numbers) < 100:
            numbers += [message.data for message in await batches.__anext__()]
        assert numbers == list(range(100))
        await batches.aclose()


@run
async def test_a_cancelled_wait_loses_nothing(broker):
    async with AsyncClient(broker.socket) as client, AsyncClient(broker.socket) as other:
        events = await client.subscribe("n")
        heard = []

        async def take():
            async for message in events:
                heard.append(message.data)

        for number in range(50):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(take(), 0.002)
            await other.emit("n", number)
        await other.ping()
        while len(heard) < 50:
            heard.append((await events.__anext__()).data)
        assert heard == list(range(50))


@run
async def test_a_cancelled_call_leaves_nothing_behind(broker):
    async with AsyncClient(broker.socket) as client:
        for _ in range(20):
            task = asyncio.ensure_future(client.on("cancelled", print))
            await asyncio.sleep(0)
            task.cancel()
            subscribing = asyncio.ensure_future(client.subscribe("cancelled", losses=True)._open())
            await asyncio.sleep(0)
            subscribing.cancel()
        del task, subscribing
        end = time.monotonic() + PATIENCE
        while client.listener_count("cancelled"):
            assert time.monotonic() < end
            gc.collect()
            await asyncio.sleep(0.01)
    connecting = asyncio.ensure_future(AsyncClient.connect(broker.socket, name="cancelled"))
    await asyncio.sleep(0)
    connecting.cancel()
    probe = Client(broker.socket)
    end = time.monotonic() + PATIENCE
    while any(client["name"] == "cancelled" for client in probe.status()["clients"]):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    probe.disconnect()


@run
async def test_back_pressure_waits_without_blocking_the_loop(broker):
    async with AsyncClient(broker.socket) as client, AsyncClient(broker.socket) as other:
        events = await client.subscribe("block")
        block = bytes(64 << 10)
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        async def emit():
            for _ in range(1000):
                await other.emit("block", block)

        turning, emitting = asyncio.ensure_future(turn()), asyncio.ensure_future(emit())
        await asyncio.sleep(0.5)
        assert not emitting.done() and turns > 10
        sequence = 0
        async for message in events:
            sequence += 1
            assert message.sequence == sequence
            if sequence == 1000:
                break
        await emitting
        turning.cancel()


@run
async def test_errors_and_the_end(broker):
    with pytest.raises(BrokerNotRunning, match="netcluster serve"):
        await AsyncClient.connect("/nowhere/broker.sock")
    with pytest.raises(RuntimeError, match="not connected yet"):
        await AsyncClient(broker.socket).emit("a")
    client = await AsyncClient.connect(broker.socket)

    async def listener(message):
        pass

    with pytest.raises(TypeError, match="async for"):
        await client.on("a", listener)
    with pytest.raises(InvalidName):
        await client.emit("a.*")
    with pytest.raises(InvalidName):
        await client.subscribe("log.>")
    told = []
    client.on_lifecycle(told.append)
    events = await client.subscribe("a")
    waiting = asyncio.ensure_future(client.wait())
    await client.disconnect()
    await client.disconnect()
    await waiting
    assert [message async for message in events] == []
    assert [event.kind for event in told] == ["disconnect", "closed"]
    for call in (client.emit("a"), client.on("a", print), client.ping()):
        with pytest.raises(Disconnected):
            await call


@run
async def test_a_listener_that_raises_does_not_stop_the_loop(broker):
    reported = asyncio.Queue()
    on_error = lambda error, message: reported.put_nowait(type(error))  # noqa: E731
    async with AsyncClient(broker.socket, on_error=on_error, echo=True) as client:
        await client.on("a", lambda message: 1 / message.data)
        await client.emit("a", 0)
        await client.emit("a", "text")
        assert await reported.get() is ZeroDivisionError
        assert await reported.get() is TypeError


@run
async def test_losses_are_given_at_their_place(broker):
    options = {"latest": True, "shared_memory": False}
    async with AsyncClient(broker.socket, **options) as client, AsyncClient(broker.socket) as other:
        events = await client.subscribe("block", losses=True)
        for _ in range(1024):
            await other.emit("block", bytes(64 << 10))
        await other.ping()
        expected, lost = 1, 0
        while expected <= 1024:
            item = await events.__anext__()
            if isinstance(item, Lost):
                expected += item.count
                lost += item.count
            else:
                assert item.sequence == expected
                expected += 1
        assert lost > 0


def test_a_loop_that_is_closed_is_left_alone(broker):
    async def leave():
        client = await AsyncClient.connect(broker.socket)
        await client.on("a", print)
        return client, await client.subscribe("a")

    left = asyncio.run(leave())
    with Client(broker.socket) as other:
        for _ in range(10):
            other.emit("a")
        other.ping()
    del left
    gc.collect()
