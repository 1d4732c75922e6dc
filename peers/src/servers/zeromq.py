"""libzmq's own forwarder: XSUB in front, XPUB behind, nothing in Python on the way.

    zeromq.py version | zeromq.py SOCKET MAX_QUEUED_EVENTS

Subscribers connect to SOCKET, publishers to SOCKET.in.
"""

import signal
import sys

import zmq

if sys.argv[1] == "version":
    print("libzmq", zmq.zmq_version())
    sys.exit()

path, queued = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGTERM, signal.SIG_DFL)
context = zmq.Context()
front, back = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
# By default XPUB drops what a subscriber is too slow for, even with a queue of 256 MB:
# at 64 KB some percent are lost. So it waits instead, as our broker does, which slows
# the publishers down; then the library's own length of queue, 1,000 events, is the
# fastest: a longer one is only memory that is not in the cache (1 KB: twice the time).
back.setsockopt(zmq.XPUB_NODROP, 1)
back.sndhwm = min(back.sndhwm, queued)
front.bind(f"ipc://{path}.in")
# Last: who can connect to it can connect to both.
back.bind(f"ipc://{path}")
zmq.proxy(front, back)
