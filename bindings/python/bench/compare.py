"""Throughput beside nats-py and pyzmq, in one run: compare.py [--seconds S] [--repeats N].

One process emits, one listens, 64 or 1024 bytes; every event is counted, none may be missing. Each
row is the median of the repeats, taken in turn, of events per second from the first that is
heard to the last. Needs `netcluster` (or NETCLUSTER_BIN) and `nats-server` in PATH, and the packages
nats-py and pyzmq. It says what the machine's load was.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PORT = 42217


# Listeners: hear `count` events, then return the seconds from the first to the last.


def netcluster_listener(place, count, ready, how):
    from netcluster import Client

    client = Client(place)
    heard, start = 0, 0.0
    if how == "callback":
        import threading

        done = threading.Event()

        def listener(message):
            nonlocal heard, start
            if heard == 0:
                start = time.perf_counter()
            heard += 1
            if heard == count:
                done.set()

        client.on("load", listener)
        ready.set()
        assert done.wait(120)
    elif how == "iterator":
        subscription = client.subscribe("load")
        ready.set()
        for _ in subscription:
            if heard == 0:
                start = time.perf_counter()
            heard += 1
            if heard == count:
                break
    else:
        subscription = client.subscribe("load")
        ready.set()
        while heard < count:
            batch = subscription.take(4096)
            if heard == 0:
                start = time.perf_counter()
            heard += len(batch)
    return time.perf_counter() - start


def netcluster_async_listener(place, count, ready, how):
    from netcluster import AsyncClient

    async def run():
        async with AsyncClient(place) as client:
            events = await client.subscribe("load")
            ready.set()
            heard, start = 0, 0.0
            async for _ in events:
                if heard == 0:
                    start = time.perf_counter()
                heard += 1
                if heard == count:
                    return time.perf_counter() - start

    return asyncio.run(run())


def nats_listener(place, count, ready, how):
    import nats

    async def run():
        client = await nats.connect(place)
        heard, start, done = 0, 0.0, asyncio.Event()

        async def listener(message):
            nonlocal heard, start
            if heard == 0:
                start = time.perf_counter()
            heard += 1
            if heard == count:
                done.set()

        limits = {"pending_msgs_limit": count + 1, "pending_bytes_limit": 1 << 32}
        await client.subscribe("load", cb=listener, **limits)
        await client.flush()
        ready.set()
        await asyncio.wait_for(done.wait(), 120)
        seconds = time.perf_counter() - start
        await client.close()
        return seconds

    return asyncio.run(run())


def zeromq_listener(place, count, ready, how):
    import zmq

    listener = zmq.Context().socket(zmq.SUB)
    listener.set_hwm(0)
    listener.setsockopt(zmq.SUBSCRIBE, b"load")
    listener.connect(place)
    ready.set()
    heard, start = 0, 0.0
    while heard < count:
        listener.recv_multipart()
        if heard == 0:
            start = time.perf_counter()
        heard += 1
    return time.perf_counter() - start


# Emitters.


def netcluster_emitter(place, count, size, how):
    from netcluster import Client

    client, data = Client(place), bytes(size)
    if how == "batch":
        values = [data] * 1000
        for _ in range(count // 1000):
            client.emit_many("load", values)
    else:
        for _ in range(count):
            client.emit("load", data)
    client.disconnect()


def netcluster_async_emitter(place, count, size, how):
    from netcluster import AsyncClient

    async def run():
        async with AsyncClient(place) as client:
            data = bytes(size)
            for _ in range(count):
                await client.emit("load", data)

    asyncio.run(run())


def nats_emitter(place, count, size, how):
    import nats

    async def run():
        client, data = await nats.connect(place), bytes(size)
        for number in range(count):
            await client.publish("load", data)
            if number % 1000 == 999:
                # Otherwise nothing is written until all of it waits.
                await client.flush(60)
        await client.drain()

    asyncio.run(run())


def zeromq_emitter(place, count, size, how):
    import zmq

    emitter = zmq.Context().socket(zmq.PUB)
    emitter.set_hwm(0)
    emitter.bind(place)
    time.sleep(0.5)
    data = bytes(size)
    for _ in range(count):
        emitter.send_multipart((b"load", data))
    emitter.close(linger=60_000)
    emitter.context.term()


ROWS = {
    "netcluster, batches": (netcluster_listener, netcluster_emitter, "batch"),
    "netcluster, iterator": (netcluster_listener, netcluster_emitter, "iterator"),
    "netcluster, callback": (netcluster_listener, netcluster_emitter, "callback"),
    "netcluster, asyncio": (netcluster_async_listener, netcluster_async_emitter, "asyncio"),
    "nats-py": (nats_listener, nats_emitter, ""),
    "pyzmq": (zeromq_listener, zeromq_emitter, ""),
}


def listen(listener, place, count, ready, how, answer):
    answer.put(listener(place, count, ready, how))


def measure(row, places, count, size):
    """Returns events per second."""
    listener, emitter, how = ROWS[row]
    place = places[row.split(",")[0]]
    context = multiprocessing.get_context("spawn")
    ready, answer = context.Event(), context.Queue()
    heard = context.Process(target=listen, args=(listener, place, count, ready, how, answer))
    emits = context.Process(target=emitter, args=(place, count, size, how))
    heard.start()
    assert ready.wait(60)
    emits.start()
    seconds = answer.get(timeout=180)
    emits.join()
    heard.join()
    return count / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="aimed at, for each run")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="nc-bench-")
    bus, zeromq = os.path.join(directory, "bus"), os.path.join(directory, "zmq")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    program = os.environ.get("NETCLUSTER_BIN") or "netcluster"
    servers = [
        subprocess.Popen([program, "serve", "--socket", bus], **quiet),
        subprocess.Popen(["nats-server", "-a", "127.0.0.1", "-p", str(PORT)], **quiet),
    ]
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", PORT)).close()
                break
            except OSError:
                time.sleep(0.1)
        places = {"netcluster": bus, "nats-py": f"nats://127.0.0.1:{PORT}", "pyzmq": f"ipc://{zeromq}"}
        print("| events/s, 1→1 | " + " | ".join(ROWS) + " |")
        print("|---" * (len(ROWS) + 1) + "|")
        for size in (64, 1024):
            rates = {row: [] for row in ROWS}
            counts = {}
            for row in ROWS:
                # A first run, not counted, finds out how many make up the time.
                counts[row] = max(10_000, int(measure(row, places, 20_000, size) * options.seconds) // 1000 * 1000)
            for _ in range(options.repeats):
                for row in ROWS:
                    rates[row].append(measure(row, places, counts[row], size))
            medians = [statistics.median(rates[row]) for row in ROWS]
            print(f"| {size} B | " + " | ".join(f"{median / 1000:,.0f} k" for median in medians) + " |", flush=True)
        print(f"\nload average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
