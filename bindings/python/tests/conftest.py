"""A broker for each test session, and clients that end with their test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from netcluster import Client

# Patience with a machine that has other things to do.
PATIENCE = 30


def program() -> str:
    """The broker's program: NETCLUSTER_BIN, or in PATH."""
    found = os.environ.get("NETCLUSTER_BIN") or shutil.which("netcluster")
    assert found, "the program `netcluster`: name it in NETCLUSTER_BIN"
    return found


class Broker:
    """A broker that can be killed and started again."""

    def __init__(self, *options: str) -> None:
        self.directory = tempfile.mkdtemp(prefix="nc-py-")
        self.socket = os.path.join(self.directory, "broker.sock")
        self.options = options
        self.start()

    def start(self) -> None:
        command = [program(), "serve", "--socket", self.socket, *self.options]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        Client(self.socket, wait_for_broker=PATIENCE).disconnect()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def pause(self) -> None:
        """Stops it, as if it were stuck; returns once none of its threads answers any more."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = f"/proc/{self.process.pid}/task"

        def state(task: str) -> str:
            with open(f"{tasks}/{task}/stat", encoding="ascii", errors="replace") as stat:
                return stat.read().rsplit(")")[-1].split()[0]

        eventually(lambda: all(state(task) == "T" for task in os.listdir(tasks)))

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.directory)


@pytest.fixture(scope="session")
def broker():
    broker = Broker()
    yield broker
    broker.end()


@pytest.fixture
def own_broker():
    broker = Broker()
    yield broker
    broker.end()


@pytest.fixture
def connect(broker):
    """Connects a client that is disconnected after the test."""
    clients = []

    def connect(path=None, **options):
        client = Client(path or broker.socket, **options)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        if not client.is_closed:
            client.disconnect()


def eventually(condition):
    """Waits until something is so, which another thread sees to."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)
