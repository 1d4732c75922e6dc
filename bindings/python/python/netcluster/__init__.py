"""Client of netcluster, an event bus: an event emitter whose listeners may be in any process
of the machine, or of any machine that its broker is linked with.

    from netcluster import Client

    with Client() as client:
        client.on("sensor.*", lambda message: print(message.event, message.data))
        client.emit("greeting", "hello")
        client.wait()
"""

from __future__ import annotations

import atexit
import json
import os
from typing import Any, Callable, Iterator, Optional

from . import _log, _native
from ._async import AsyncClient, AsyncSubscription
from ._errors import (
    BrokerNotRunning,
    ConnectError,
    Disconnected,
    EncodingError,
    Forked,
    InvalidName,
    NetclusterError,
    PayloadTooLarge,
    Timeout,
)
from ._native import Lifecycle, Lost, Message, Subscription

__all__ = [
    "AsyncClient",
    "AsyncSubscription",
    "BrokerNotRunning",
    "Client",
    "ConnectError",
    "Disconnected",
    "EncodingError",
    "Forked",
    "InvalidName",
    "Lifecycle",
    "Lost",
    "Message",
    "NetclusterError",
    "PayloadTooLarge",
    "Subscription",
    "Timeout",
]

Listener = Callable[[Message], Any]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_native._forked)
atexit.register(_native._shut_down)


class Client(_native.Client):
    """A connection to the broker, with the shape of an event emitter.

    Any thread may use it. Listeners run on a thread of its own, one at a time; one that
    raises is told to ``on_error(exception, message)``, or to ``sys.unraisablehook``.
    """

    def on(self, pattern: str, listener: Optional[Listener] = None) -> Any:
        """Calls ``listener`` for every event whose name matches; returns it. Without one it
        is a decorator. Returns once the broker acknowledged."""
        return self._add(pattern, listener, False, False)

    def once(self, pattern: str, listener: Optional[Listener] = None) -> Any:
        """As ``on``, for one event only."""
        return self._add(pattern, listener, True, False)

    def prepend_listener(self, pattern: str, listener: Optional[Listener] = None) -> Any:
        """As ``on``, before the listeners that are there."""
        return self._add(pattern, listener, False, True)

    def off(self, pattern: str, listener: Listener) -> bool:
        """Removes a listener; tells whether it was there."""
        return self._off(pattern, listener)

    remove_listener = off

    def _add(self, pattern: str, listener: Optional[Listener], once: bool, prepend: bool) -> Any:
        if listener is not None:
            self._on(pattern, listener, once, prepend)
            return listener

        def decorate(listener: Listener) -> Listener:
            self._on(pattern, listener, once, prepend)
            return listener

        return decorate

    def batches(self, pattern: str, most: int = 1024, *, losses: bool = False) -> Iterator[list]:
        """Subscribes: an iterator of lists of messages, each what was there."""
        return _Batches(self.subscribe(pattern, losses=losses), most)

    def status(self) -> dict:
        """The broker's status."""
        return json.loads(self._status())

    def control(self, request: dict) -> dict:
        """Asks the broker for something that only whoever runs it may want, such as
        `{"do": "totals"}`: see `control` in PROTOCOL.md. Gives the broker's answer."""
        return json.loads(self._control(json.dumps(request)))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: Any = None, *raised: object) -> None:
        if self.is_closed:
            return
        try:
            self.disconnect()
        except NetclusterError as error:
            # What was raised in the block says more.
            if kind is None:
                raise
            _log.disconnecting(error)

    def __repr__(self) -> str:
        return f"<Client {self.source} at {self.socket}>"


class _Batches:
    """Lists of messages. Ends with the client, or when it is closed."""

    def __init__(self, subscription: Subscription, most: int) -> None:
        self._subscription = subscription
        self._most = most

    def __iter__(self) -> "_Batches":
        return self

    def __next__(self) -> list:
        batch = self._subscription.take(self._most)
        if batch is None:
            raise StopIteration
        return batch

    def close(self) -> None:
        """Ends it."""
        self._subscription.close()
