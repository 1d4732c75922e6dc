"""Views of payloads that are not copied, as the native half asks for them.

The buffer protocol is part of the stable ABI from Python 3.11 on; ``ctypes`` has it in all
versions that one wheel is for.
"""

from __future__ import annotations

import ctypes
from typing import Any


def view(message: Any, address: int, size: int) -> memoryview:
    """Returns a view of so many bytes of a message, which lives as long as the view does."""
    if size == 0:
        return memoryview(b"")
    array = (ctypes.c_ubyte * size).from_address(address)
    array.message = message  # type: ignore[attr-defined]
    return memoryview(array).cast("B").toreadonly()
