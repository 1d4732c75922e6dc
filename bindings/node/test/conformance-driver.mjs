// The driver of the conformance suite: see bindings/conformance/README.md.
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { LossNotice, NetclusterError, connect } from '../index.mjs';

/** How long emit_many tries, in ms. */
const EMITTING_MS = 20_000;
/** emit_many lets the event loop run after so many: while nothing waits, `emit` never does. */
const EMITTED_AT_A_TIME = 1000;

/** Codes of this package that the suite names in another way. */
const CODES = { LISTENER_THREW: 'LISTENER_PANICKED' };

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const sourceText = ({ node, client }) => `${node.toString(16).padStart(8, '0')}/${client}`;

let client;
/** Listeners by name: how each is removed. */
let listeners = new Map();

class Unsupported extends Error {
  code = 'UNSUPPORTED';
}

function described(error) {
  const code = CODES[error.code] ?? error.code ?? 'UNSUPPORTED';
  return { code, message: error.message, ...(error.brokerCode !== undefined && { broker_code: error.brokerCode }) };
}

function reportEvent(listener, message) {
  const report = {
    report: 'event',
    listener,
    event: message.event,
    encoding: message.encoding,
    data: message.payload.toString('base64'),
    source: sourceText(message.source),
    sequence: message.sequence,
  };
  try {
    if (message.encoding === 'text') report.text = message.data;
    if (message.encoding === 'json') report.value = message.data;
  } catch (error) {
    report.undecodable = error.message;
  }
  say(report);
}

function reportLost({ source, count, reason }, more = {}) {
  say({ report: 'lost', source: source ? sourceText(source) : null, count: count ?? null, reason, ...more });
}

function follow(made) {
  made.lifecycle.on('connect', ({ source, resumed }) => resumed && say({ report: 'connect', source: sourceText(source) }));
  made.lifecycle.on('disconnect', ({ reason }) => {
    if (!made.isClosed) say({ report: 'disconnect', broker_code: null, ...described(reason) });
  });
  made.lifecycle.on('lost', (lost) => reportLost(lost));
  made.lifecycle.on('error', (error) => say({ report: 'error', ...described(error) }));
  made.lifecycle.on('close', (error) => {
    if (error !== undefined) say({ report: 'closed', broker_code: null, ...described(error.cause ?? error) });
  });
}

function need() {
  if (client === undefined) throw new NetclusterError('DISCONNECTED', 'there is no client');
  return client;
}

function payloadOf({ encoding, size, text, value, data }) {
  if (size !== undefined) return encoding === 'bytes' ? Buffer.alloc(size, 'x') : 'x'.repeat(size);
  if (encoding === 'text') return text;
  if (encoding === 'json') return value;
  if (encoding === 'bytes') return Buffer.from(data, 'base64');
  throw new Unsupported(`encoding ${encoding}`);
}

/** Emits; a string that is said to be JSON goes as such. */
function emit(made, { event, encoding, ...given }) {
  const payload = payloadOf({ encoding, ...given });
  return encoding === 'json' ? made.emitJson(event, payload) : made.emit(event, payload);
}

const requests = {
  async connect({ socket, channel, name = 'driver', echo, latest, max_queue, reconnect = true, timeout_ms, disconnect_timeout_ms }) {
    client?.destroy();
    client = undefined;
    listeners = new Map();
    const made = await connect(socket, {
      name,
      queue: latest ? 'latest' : 'backpressure',
      ...(channel !== undefined && { channel }),
      ...(echo !== undefined && { echo }),
      ...(max_queue !== undefined && { maxQueue: max_queue }),
      ...(reconnect ? {} : { reconnect: false }),
      ...(timeout_ms !== undefined && { connectTimeout: timeout_ms }),
      ...(disconnect_timeout_ms !== undefined && { disconnectTimeout: disconnect_timeout_ms }),
    });
    follow(made);
    client = made;
    return { source: sourceText(made.source) };
  },

  async on({ pattern, listener, once = false, prepend = false, then = null }) {
    const made = need();
    let isThere = true;
    const remove = () => {
      const was = isThere;
      isThere = false;
      made.off(pattern, called);
      return was;
    };
    const called = (message) => {
      if (once) isThere = false;
      reportEvent(listener, message);
      if (then === 'throw') throw new Error('the listener was told to throw');
      if (then === 'off') remove();
      if (then?.emit !== undefined) {
        if (message.encoding === 'bytes') made.emit(then.emit, message.payload);
        else if (message.encoding === 'text') made.emit(then.emit, message.text);
        else made.emitJson(then.emit, message.data);
      }
    };
    const how = once ? (prepend ? 'prependOnceListener' : 'once') : prepend ? 'prependListener' : 'on';
    made[how](pattern, called);
    listeners.set(listener, remove);
    await made.ready(pattern);
    return {};
  },

  async subscribe({ pattern, listener }) {
    const subscription = need().subscribe(pattern, { losses: true });
    let isThere = true;
    listeners.set(listener, () => {
      const was = isThere;
      isThere = false;
      void subscription.return();
      return was;
    });
    void (async () => {
      for await (const item of subscription) {
        if (!isThere) return;
        if (item instanceof LossNotice) reportLost(item.lost, { listener });
        else reportEvent(listener, item);
      }
    })().catch(() => undefined);
    await subscription.ready;
    return {};
  },

  async off({ listener }) {
    need();
    return { removed: listeners.get(listener)?.() ?? false };
  },

  async emit(request) {
    const made = need();
    for (;;) {
      try {
        emit(made, request);
        return {};
      } catch (error) {
        if (error.code !== 'BACKPRESSURE') throw error;
        await made.drained();
      }
    }
  },

  async emit_many({ event, first, count, size }) {
    const made = need();
    const deadline = performance.now() + EMITTING_MS;
    let accepted = 0;
    while (accepted < count) {
      try {
        const goesOn = made.emit(event, String(first + accepted).padEnd(size, ' '));
        accepted++;
        if (accepted % EMITTED_AT_A_TIME === 0) await nextTurn();
        if (!goesOn) await Promise.race([made.drained(), pause(deadline - performance.now(), undefined, { ref: false })]);
        if (performance.now() > deadline) throw new NetclusterError('BACKPRESSURE', 'no room for 20 seconds');
      } catch (error) {
        if (error.code === 'BACKPRESSURE' && performance.now() < deadline) await made.drained();
        else return { accepted, error: described(error) };
      }
    }
    return { accepted };
  },

  async flush() {
    const made = need();
    while (made.pendingBytes > 0) {
      if (made.isClosed) made.emit('never');
      await pause(1);
    }
    return {};
  },

  async ping() {
    await need().flush();
    return {};
  },

  async disconnect() {
    await need().disconnect();
    return {};
  },

  async state() {
    const made = need();
    const names = made.eventNames();
    return {
      connected: made.isConnected,
      closed: made.isClosed,
      source: sourceText(made.source),
      last_sequence: made.lastSequence,
      event_names: names.sort(),
      listener_count: names.reduce((sum, name) => sum + made.listenerCount(name), 0),
      confirmed: made.confirmed,
      max_payload: made.maxPayload,
    };
  },

  async status() {
    return { status: await need().status() };
  },

  async audience({ event }) {
    return await need().audience(event);
  },
};

say({
  driver: 'node',
  capabilities: ['latest', 'pull', 'prepend', 'throw', 'off-inside', 'confirmed', 'max-payload', 'status', 'audience'],
});
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, ...request } = JSON.parse(line);
  try {
    if (!Object.hasOwn(requests, what)) throw new Unsupported(`there is no request ${what}`);
    say({ id, ok: await requests[what](request) });
  } catch (error) {
    say({ id, error: described(error) });
  }
}
process.exit(0);
