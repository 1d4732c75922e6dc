"""Zenoh's router: the library's own, nothing in Python on the way.

    zenoh.py version | zenoh.py SOCKET

Events come here as ones that block: a listener's queue that is full slows the
emitter, and nothing is dropped. So no setting of what is dropped, or when, matters.
"""

import json
import signal
import sys

import zenoh

if sys.argv[1] == "version":
    import importlib.metadata

    print("zenoh", importlib.metadata.version("eclipse-zenoh"))
    sys.exit()

settings = {
    "mode": "router",
    "listen": {"endpoints": [f"unixsock-stream/{sys.argv[1]}"]},
    "scouting": {"multicast": {"enabled": False}, "gossip": {"enabled": False}},
    # A router stamps each event with the time unless told not to; no other peer does,
    # and it costs a sixth of its CPU time for small events.
    "timestamping": {"enabled": False},
    "transport": {
        # Many connections are a load; the default is 1,000 with the emitters among them.
        "unicast": {"max_sessions": 10100},
        "link": {
            "tx": {
                # No keep-alive traffic: a quarter of this passes between two.
                "lease": 3_600_000,
                "queue": {
                    # Batches of 64 KiB for each listener; the most that is allowed.
                    # Of two, the default, the router waits for one too often: an
                    # event of 64 KiB takes both.
                    "size": {"data": 16},
                    # A listener that does not get to read for 5 s, the default, would
                    # be cut off: a busy machine is no reason.
                    "congestion_control": {"block": {"wait_before_close": 60_000_000}},
                },
            },
        },
    },
}
signal.signal(signal.SIGTERM, signal.SIG_DFL)
router = zenoh.open(zenoh.Config.from_json5(json.dumps(settings)))
while True:
    signal.pause()
