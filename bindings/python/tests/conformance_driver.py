"""Driver of the conformance suite for Python: see bindings/conformance/README.md.

Lines of JSON on standard input are requests; answers and reports are lines on standard output.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time

from netcluster import Client, EncodingError, Lost, NetclusterError

CAPABILITIES = [
    "latest", "pull", "prepend", "throw", "off-inside", "confirmed", "max-payload", "status",
    "audience",
]

# How long emit_many tries.
PATIENCE = 20

write_lock = threading.RLock()


def write(line):
    with write_lock:
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def name_of(source):
    return None if source is None else f"{source[0]:08x}/{source[1]}"


class Unsupported(Exception):
    pass


class Driver:
    def __init__(self):
        self.client = None
        self.connected = False
        self.leaves = False
        self.listeners = {}

    # Reports

    def report_event(self, name, message):
        report = {
            "report": "event",
            "listener": name,
            "event": message.event,
            "encoding": message.encoding,
            "data": base64.b64encode(message.payload).decode(),
            "source": name_of(message.source),
            "sequence": message.sequence,
        }
        if message.encoding != "bytes":
            try:
                report["text" if message.encoding == "text" else "value"] = message.data
            except EncodingError as error:
                report["undecodable"] = str(error)
        write(report)

    def report_lost(self, lost, **more):
        write({"report": "lost", "source": name_of(lost.source), "count": lost.count, "reason": lost.reason, **more})

    def on_error(self, error, message):
        write({"report": "error", "code": "LISTENER_PANICKED", "message": repr(error)})

    def on_lifecycle(self, client, event):
        if client is not self.client:
            return
        told = {"code": event.code, "message": event.text, "broker_code": event.broker_code}
        if event.kind == "connect":
            self.connected = True
            write({"report": "connect", "source": name_of(event.source)})
        elif event.kind == "disconnect":
            self.connected = False
            if event.code != "REQUESTED":
                self.end = told
                write({"report": "disconnect", **told})
        elif event.kind == "closed":
            self.connected = False
            if event.code != "REQUESTED":
                write({"report": "closed", **told})
        elif event.kind == "lost":
            self.report_lost(event.lost)
        else:
            write({"report": "error", **told})

    # Requests

    def connect(self, request):
        if self.client is not None:
            self.drop()
        options = {
            "channel": request.get("channel", "default"),
            "name": request.get("name", "driver"),
            "echo": request.get("echo", False),
            "latest": request.get("latest", False),
            "max_queue": request.get("max_queue", 0),
            "reconnect": request.get("reconnect", True),
            "connect_timeout": request.get("timeout_ms", 5000) / 1000,
            "disconnect_timeout": request.get("disconnect_timeout_ms", 5000) / 1000,
        }
        client = Client(request["socket"], on_error=self.on_error, **options)
        self.client, self.connected, self.listeners = client, True, {}
        client.on_lifecycle(lambda event: self.on_lifecycle(client, event))
        return {"source": name_of(client.source)}

    def drop(self):
        client, self.client = self.client, None
        try:
            client.disconnect()
        except NetclusterError:
            pass

    def on(self, request):
        client, name, then = self.own(), request["listener"], request.get("then")
        listener = Listening(self, name, request["pattern"], then)
        with write_lock:
            self.listeners[name] = listener
        try:
            if request.get("once") and request.get("prepend"):
                client._on(request["pattern"], listener, True, True)
            elif request.get("once"):
                client.once(request["pattern"], listener)
            elif request.get("prepend"):
                client.prepend_listener(request["pattern"], listener)
            else:
                client.on(request["pattern"], listener)
        except NetclusterError:
            del self.listeners[name]
            raise
        return {}

    def subscribe(self, request):
        client, name = self.own(), request["listener"]
        subscription = client.subscribe(request["pattern"], losses=True)
        self.listeners[name] = pulling = Pulling(self, name, subscription)
        pulling.start()
        return {}

    def off(self, request):
        self.own()
        with write_lock:
            listener = self.listeners.pop(request["listener"], None)
            return {"removed": listener is not None and listener.remove()}

    def emit(self, request):
        event, encoding = request["event"], request["encoding"]
        if "size" in request:
            data = b"x" * request["size"]
            if encoding != "bytes":
                data = data.decode()
        elif encoding == "bytes":
            data = base64.b64decode(request.get("data", ""))
        elif encoding == "text":
            data = request["text"]
        elif encoding == "json":
            data = request["value"]
            if isinstance(data, str):
                # A string is text; as JSON it is what is encoded already.
                self.own().emit_encoded(event, "json", json.dumps(data).encode())
                return {}
        else:
            raise Unsupported(f"no encoding {encoding}")
        self.own().emit(event, data)
        return {}

    def emit_many(self, request):
        client, accepted, end = self.own(), 0, time.monotonic() + PATIENCE
        for number in range(request["first"], request["first"] + request["count"]):
            text = str(number).ljust(request["size"])
            while True:
                try:
                    client.emit(request["event"], text)
                    break
                except NetclusterError as error:
                    if error.code not in ("BACKPRESSURE", "NOT_CONNECTED") or time.monotonic() > end:
                        return {"accepted": accepted, "error": told(error)}
            accepted += 1
        return {"accepted": accepted}

    def flush(self, request):
        self.own().flush()
        return {}

    def ping(self, request):
        self.own().ping()
        return {}

    def disconnect(self, request):
        self.own().disconnect()
        return {}

    def state(self, request):
        client = self.own()
        names = client.event_names()
        return {
            "connected": self.connected and not client.is_closed,
            "closed": client.is_closed,
            "source": name_of(client.source),
            "last_sequence": client.last_sequence,
            "event_names": names,
            "listener_count": sum(client.listener_count(name) for name in names),
            "confirmed": client.confirmed_sequence,
            "max_payload": client.max_payload,
        }

    def status(self, request):
        return {"status": self.own().status()}

    def audience(self, request):
        clients, brokers = self.own().audience(request["event"])
        return {"clients": clients, "brokers": brokers}

    def own(self):
        if self.client is None:
            raise NetclusterError("there is no client", "DISCONNECTED")
        return self.client


class Listening:
    """A listener of the suite."""

    def __init__(self, driver, name, pattern, then):
        self.driver, self.client, self.name, self.pattern, self.then = driver, driver.client, name, pattern, then
        self.removed = False

    def __call__(self, message):
        with write_lock:
            if self.removed:
                return
            self.driver.report_event(self.name, message)
        if self.then == "throw":
            raise RuntimeError("as it was told to")
        if self.then == "off":
            self.remove()
        if isinstance(self.then, dict) and "emit" in self.then:
            self.client.emit_encoded(self.then["emit"], message.encoding, message.payload)

    def remove(self):
        with write_lock:
            self.removed = True
        return self.client.off(self.pattern, self)


class Pulling(threading.Thread):
    """A subscription of the suite, read by a thread."""

    def __init__(self, driver, name, subscription):
        super().__init__(daemon=True)
        self.driver, self.name_of_listener, self.subscription = driver, name, subscription
        self.removed = False

    def run(self):
        for item in self.subscription:
            with write_lock:
                if self.removed:
                    return
                if isinstance(item, Lost):
                    self.driver.report_lost(item, listener=self.name_of_listener)
                else:
                    self.driver.report_event(self.name_of_listener, item)

    def remove(self):
        with write_lock:
            self.removed = True
        self.subscription.close()
        return True


def told(error):
    answer = {"code": error.code, "message": str(error)}
    if error.broker_code is not None:
        answer["broker_code"] = error.broker_code
    return answer


DOES = [
    "connect", "on", "subscribe", "off", "emit", "emit_many", "flush", "ping", "disconnect",
    "state", "status", "audience",
]


def main():
    driver = Driver()
    write({"driver": "python", "capabilities": CAPABILITIES})
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"id": request["id"]}
        try:
            if request.get("do") not in DOES:
                raise Unsupported(f"no request {request.get('do')!r}")
            answer["ok"] = getattr(driver, request["do"])(request)
        except NetclusterError as error:
            answer["error"] = told(error)
        except (Unsupported, KeyError, TypeError, ValueError) as error:
            answer["error"] = {"code": "UNSUPPORTED", "message": repr(error)}
        write(answer)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # Within a second, whatever broker and listeners do.
    import os

    os._exit(0)
