"""The client for asyncio. Nothing here blocks the event loop, and no thread looks around:
the client's reader wakes the loop once for each batch."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import threading
from collections import deque
from typing import Any, AsyncIterator, Callable, Deque, Generator, Optional, Tuple

from . import _log, _native
from ._errors import NetclusterError

# What is dispatched before the loop does something else.
_TURN = 256

_ABSENT = object()


async def _call(function: Callable[..., Any], *arguments: Any, undo: Any = None) -> Any:
    """Runs a call that may wait on a thread of its own. If this task is cancelled the call goes
    on, and ``undo`` is called with its result."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def finish(result: Any, error: Optional[BaseException]) -> None:
        if future.cancelled():
            if error is None and undo is not None:
                undo(result)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        result, raised = None, None
        try:
            result = function(*arguments)
        except BaseException as error:
            raised = error
        try:
            loop.call_soon_threadsafe(finish, result, raised)
        except RuntimeError:
            # The loop is closed: nobody waits.
            if raised is None and undo is not None:
                undo(result)

    threading.Thread(target=run, name="netcluster-call", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        # Cancelled between its end and this task's next turn.
        if future.done() and not future.cancelled() and future.exception() is None and undo:
            undo(future.result())
        raise


class AsyncClient:
    """A connection to the broker for asyncio.

    ``async with AsyncClient() as client`` connects and disconnects. It belongs to the event
    loop that connected. Listeners run on the loop.
    """

    def __init__(self, path: Optional[str] = None, **options: Any) -> None:
        self._connect = functools.partial(_native.Client, path, _dispatches=False, **options)
        self._client: Optional[_native.Client] = None
        self._loop: Any = None
        self._emitting: Any = None

    @classmethod
    async def connect(cls, path: Optional[str] = None, **options: Any) -> "AsyncClient":
        """Connects to the broker whose socket this is, or to the machine's."""
        client = cls(path, **options)
        await client._open()
        return client

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._emitting = asyncio.Lock()
        self._client = await _call(self._connect, undo=lambda client: _close(client))
        self._dispatch()

    @property
    def _native(self) -> _native.Client:
        if self._client is None:
            raise RuntimeError("not connected yet: `async with AsyncClient()`, or `await AsyncClient.connect()`")
        return self._client

    def _dispatch(self) -> None:
        """Calls listeners with what is there, then waits for more."""
        client = self._native
        taken = client._dispatch(_TURN)
        if taken is None:
            return
        if taken or not client._arm(self._loop, self._dispatch):
            self._loop.call_soon(self._dispatch)

    async def emit(self, event: str, data: Any = _ABSENT) -> None:
        """Emits an event; waits while the broker or a listener does not keep up. If it is
        cancelled while it waits the event may be emitted."""
        given = (event,) if data is _ABSENT else (event, data)
        client = self._native
        # Who waits already goes first.
        if not self._emitting.locked() and client.try_emit(*given):
            return
        async with self._emitting:
            await _call(client.emit, *given)

    async def on(self, pattern: str, listener: Callable[[Any], Any]) -> Any:
        """Calls ``listener`` for every event whose name matches; returns it. Returns once the
        broker acknowledged."""
        return await self._add(pattern, listener, False)

    async def once(self, pattern: str, listener: Callable[[Any], Any]) -> Any:
        """As ``on``, for one event only."""
        return await self._add(pattern, listener, True)

    async def _add(self, pattern: str, listener: Callable[[Any], Any], once: bool) -> Any:
        if inspect.iscoroutinefunction(listener):
            text = "a listener is no coroutine function, since nothing would wait for it: use `async for`"
            raise TypeError(text)
        client = self._native
        await _call(client._on, pattern, listener, once, undo=client._remove)
        return listener

    def off(self, pattern: str, listener: Callable[[Any], Any]) -> bool:
        """Removes a listener; tells whether it was there."""
        return self._native._off(pattern, listener)

    remove_listener = off

    def remove_all_listeners(self, pattern: Optional[str] = None) -> int:
        """Removes the listeners of exactly this pattern, or all; tells how many."""
        return self._native.remove_all_listeners(pattern)

    def on_lifecycle(self, listener: Callable[[Any], Any]) -> None:
        """Calls ``listener`` with what happens to the connection from now on."""
        self._native.on_lifecycle(listener)

    def subscribe(self, pattern: str, *, losses: bool = False) -> "AsyncSubscription":
        """Messages: ``async for message in client.subscribe("a.**")``. It is in force once it
        is awaited, or entered by ``async with``, or the first message is waited for."""
        return AsyncSubscription(self, pattern, losses)

    async def batches(
        self, pattern: str, most: int = 1024, *, losses: bool = False
    ) -> AsyncIterator[list]:
        """Lists of messages, each what was there."""
        async with self.subscribe(pattern, losses=losses) as subscription:
            while True:
                batch = await subscription.take(most)
                if batch is None:
                    return
                yield batch

    async def flush(self) -> None:
        """Returns once everything emitted so far is written."""
        await _call(self._native.flush)

    async def disconnect(self) -> None:
        """Ends the connection in order: returns once everything emitted is queued at every
        listener, and own listeners were called with what had come."""
        client = self._native
        await _call(client.disconnect)
        while client._dispatch(_TURN):
            await asyncio.sleep(0)

    async def wait(self) -> None:
        """Waits until the client ended for good."""
        await _call(self._native.wait)

    async def ping(self) -> float:
        """Returns once everything emitted so far is queued at every listener; how many seconds
        that took."""
        return await _call(self._native.ping)

    async def status(self) -> dict:
        """The broker's status."""
        return json.loads(await _call(self._native._status))

    async def control(self, request: dict) -> dict:
        """Asks the broker for something that only whoever runs it may want, such as
        `{"do": "totals"}`: see `control` in PROTOCOL.md. Gives the broker's answer."""
        return json.loads(await _call(self._native._control, json.dumps(request)))

    async def audience(self, event: str) -> Tuple[int, int]:
        """Counts who would get an event of this name: clients of this machine, and brokers of
        others."""
        return await _call(self._native.audience, event)

    async def wait_for_cluster(self, timeout: float) -> None:
        """Returns once the brokers of all machines know of every listener added so far."""
        await _call(self._native.wait_for_cluster, timeout)

    def __getattr__(self, name: str) -> Any:
        if name in ("socket", "source", "last_sequence", "confirmed_sequence", "max_payload", "is_closed", "listener_count", "event_names"):
            return getattr(self._native, name)
        raise AttributeError(f"an AsyncClient has no attribute {name!r}")

    async def __aenter__(self) -> "AsyncClient":
        if self._client is None:
            await self._open()
        return self

    async def __aexit__(self, kind: Any = None, *raised: object) -> None:
        if self._client is None or self._client.is_closed:
            return
        try:
            await self.disconnect()
        except NetclusterError as error:
            # What was raised in the block says more.
            if kind is None:
                raise
            _log.disconnecting(error)


def _close(client: _native.Client) -> None:
    """Ends a client that nobody waits for any more, on a thread that may wait."""
    threading.Thread(target=client.disconnect, name="netcluster-close", daemon=True).start()


class AsyncSubscription:
    """Messages to be taken by one task at a time."""

    def __init__(self, client: AsyncClient, pattern: str, losses: bool) -> None:
        self._client = client
        self._pattern = pattern
        self._losses = losses
        self._subscription: Optional[_native.Subscription] = None
        self._taken: Deque[Any] = deque()

    async def _open(self) -> "AsyncSubscription":
        if self._subscription is None:
            native = self._client._native
            subscribe = functools.partial(native.subscribe, losses=self._losses)
            self._subscription = await _call(
                subscribe, self._pattern, undo=lambda subscription: subscription.close()
            )
        return self

    def __await__(self) -> Generator[Any, None, "AsyncSubscription"]:
        return self._open().__await__()

    async def __aenter__(self) -> "AsyncSubscription":
        return await self._open()

    async def __aexit__(self, *raised: object) -> None:
        self.close()

    def __aiter__(self) -> "AsyncSubscription":
        return self

    async def __anext__(self) -> Any:
        if not self._taken:
            batch = await self._batch(1024)
            if batch is None:
                raise StopAsyncIteration
            self._taken.extend(batch)
        return self._taken.popleft()

    async def take(self, most: int = 1024) -> Optional[list]:
        """Takes a list of what is there, waits for the first. None: nothing more comes."""
        if self._taken:
            return [self._taken.popleft() for _ in range(min(most, len(self._taken)))]
        return await self._batch(most)

    async def _batch(self, most: int) -> Optional[list]:
        if self._subscription is None:
            await self._open()
        subscription = self._subscription
        assert subscription is not None
        loop = self._client._loop
        while True:
            batch = subscription.take(most, 0)
            if batch is None or batch:
                return batch
            future = loop.create_future()
            if subscription._arm(loop, functools.partial(_wake, future)):
                await future

    def close(self) -> None:
        """Ends it; what was not taken is forgotten."""
        if self._subscription is not None:
            self._subscription.close()


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)
