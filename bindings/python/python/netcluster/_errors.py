"""Exceptions. Each has a ``code``, the same in all languages, and a text that says what to do."""

from __future__ import annotations


class NetclusterError(Exception):
    """What a call failed with."""

    def __init__(self, text: str = "", code: str = "OTHER", broker_code: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        # Number of the broker's error, if it ended the connection by one.
        self.broker_code = broker_code

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return type(self), (str(self), self.code, self.broker_code)


class ConnectError(NetclusterError, ConnectionError):
    """The connection could not be made."""


class BrokerNotRunning(ConnectError):
    """No broker answers: start one with ``netcluster serve``."""


class Disconnected(NetclusterError, ConnectionError):
    """There is no connection: at the moment, or any more."""


class Timeout(NetclusterError, TimeoutError):
    """An answer did not come in time."""


class InvalidName(NetclusterError, ValueError):
    """The name of an event, or a pattern, is not allowed."""


class PayloadTooLarge(NetclusterError, ValueError):
    """The payload is larger than the broker takes. Nothing was emitted."""


class EncodingError(NetclusterError, ValueError):
    """The payload is not what its emitter says, or cannot be encoded."""


class Forbidden(NetclusterError, PermissionError):
    """The broker's access rules do not allow it: a pattern, or events, which were not delivered."""


class Forked(NetclusterError, RuntimeError):
    """The client belongs to the process that this one was forked of."""


_CLASSES = {
    "BROKER_NOT_RUNNING": BrokerNotRunning,
    "NONE_ANSWERS": BrokerNotRunning,
    "PERMISSION_DENIED": ConnectError,
    "UNTRUSTED_SOCKET": ConnectError,
    "CONNECT": ConnectError,
    "VERSION": ConnectError,
    "PROTOCOL": ConnectError,
    "NOT_CONNECTED": Disconnected,
    "DISCONNECTED": Disconnected,
    "CLOSED_BY_BROKER": Disconnected,
    "TIMEOUT": Timeout,
    "CLUSTER_INCOMPLETE": Timeout,
    "NAME": InvalidName,
    "PATTERN": InvalidName,
    "PATTERN_REFUSED": InvalidName,
    "PAYLOAD_TOO_LARGE": PayloadTooLarge,
    "TEXT": EncodingError,
    "JSON": EncodingError,
    "FORKED": Forked,
    "FORBIDDEN": Forbidden,
}


def make(code: str, text: str, broker_code: int | None) -> NetclusterError:
    """Makes the exception of a code; the native half calls it."""
    return _CLASSES.get(code, NetclusterError)(text, code, broker_code)
