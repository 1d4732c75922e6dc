"""Ctrl-C, which must end whatever waits, also with a broker that does not answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from conftest import PATIENCE

# Longer than the test would wait.
LONG = 20 * PATIENCE

PROGRAM = """
import asyncio, itertools, os, signal, sys, threading, time
from netcluster import AsyncClient, Client

def told():
    # By then the main thread waits; if not, the test sees less, but does not fail.
    time.sleep(0.3)
    print("waits", flush=True)

def stop():
    print("stop", flush=True)
    sys.stdin.readline()
    threading.Thread(target=told, daemon=True).start()

{body}
"""

# With the broker stopped nothing is answered, and room never comes.
STOPPED = """
client = Client(connect_timeout=LONG, disconnect_timeout=0.2)
events = client.subscribe("own")
block = bytes(64 << 10)
stop()
{call}
"""

CALLS = {
    "emit": "while True: client.emit('a', block)",
    "emit_encoded": "while True: client.emit_encoded('a', 'bytes', block)",
    "emit_many": "client.emit_many('a', itertools.repeat(block))",
    "flush": "all(iter(lambda: client.try_emit('a', block), False)); client.flush()",
    "on": "client.on('a', print)",
    "subscribe": "client.subscribe('a')",
    "ping": "client.ping()",
    "status": "client.status()",
    "audience": "client.audience('a')",
    "wait_for_cluster": "client.wait_for_cluster(LONG)",
    "wait": "client.wait()",
    "next": "events.next()",
    "take": "events.take()",
    "iterate": "list(events)",
    "connect": "Client(connect_timeout=LONG)",
}

OTHERS = {
    "a block": """
        with Client(connect_timeout=LONG, disconnect_timeout=0.2) as client:
            stop()
            while True:
                client.emit("a", bytes(64 << 10))
        """,
    "disconnect": """
        client = Client(disconnect_timeout=LONG)
        stop()
        client.disconnect()
        """,
    "a broker that never comes": """
        stop()
        Client("/nowhere/broker.sock", wait_for_broker=LONG)
        """,
    "asyncio": """
        async def main():
            async with AsyncClient(connect_timeout=LONG, disconnect_timeout=0.2) as client:
                stop()
                while True:
                    await client.emit("a", bytes(64 << 10))

        asyncio.run(main())
        """,
    "the end": """
        Client(disconnect_timeout=LONG).emit("a")
        client = Client(disconnect_timeout=LONG)
        stop()
        """,
}


def interrupted(broker, body):
    """Interrupts a program once it waits; returns what it wrote to its standard error."""
    program = PROGRAM.format(body=textwrap.dedent(body))
    program = program.replace("LONG", str(LONG))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=dict(os.environ, NETCLUSTER_SOCKET=broker.socket),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "stop\n"
        broker.pause()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        broker.resume()
    return error


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_what_waits_for_a_broker_that_is_stopped(own_broker, call):
    error = interrupted(own_broker, STOPPED.format(call=CALLS[call]))
    assert "KeyboardInterrupt" in error.splitlines()[-1], error


@pytest.mark.parametrize("what", OTHERS)
def test_ctrl_c_ends_also(own_broker, what):
    error = interrupted(own_broker, OTHERS[what])
    assert "KeyboardInterrupt" in error.splitlines()[-1], error
