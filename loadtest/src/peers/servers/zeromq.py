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
for socket in (front, back):
    socket.sndhwm = queued
front.bind(f"ipc://{path}.in")
# Last: who can connect to it can connect to both.
back.bind(f"ipc://{path}")
zmq.proxy(front, back)
