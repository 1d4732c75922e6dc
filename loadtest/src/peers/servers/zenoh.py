"""Zenoh's router: the library's own, nothing in Python on the way.

    zenoh.py version | zenoh.py SOCKET
"""

import importlib.metadata
import json
import signal
import sys

import zenoh

if sys.argv[1] == "version":
    print("zenoh", importlib.metadata.version("eclipse-zenoh"))
    sys.exit()

settings = {
    "mode": "router",
    "listen": {"endpoints": [f"unixsock-stream/{sys.argv[1]}"]},
    # Many connections are a load; the default is 1,000 with the emitters among them.
    "transport": {"unicast": {"max_sessions": 10100}},
    "scouting": {"multicast": {"enabled": False}, "gossip": {"enabled": False}},
}
signal.signal(signal.SIGTERM, signal.SIG_DFL)
router = zenoh.open(zenoh.Config.from_json5(json.dumps(settings)))
while True:
    signal.pause()
