"""What happens to connections, for the log ``netcluster`` of the module ``logging``."""

from __future__ import annotations

import logging
from typing import Any

_LOG = logging.getLogger("netcluster")


def tell(event: Any) -> None:
    """Logs a lifecycle event; the native half calls it."""
    if event.kind == "connect" or event.code == "REQUESTED":
        _LOG.debug("%s", event.text)
    elif event.kind == "closed":
        _LOG.error("the client gave up: %s", event.text)
    else:
        _LOG.warning("%s", event.text)


def disconnecting(error: Any) -> None:
    """Logs that disconnecting failed where something else is raised already."""
    _LOG.warning("while disconnecting: %s", error)
