// What the tests share: brokers, a socket that lies, and waiting for what must come.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connect, startBroker } from '../../index.mjs';

/** Time that anything may take on a machine that is busy, in ms. */
export const PATIENCE = 30_000;

/** A directory for sockets that is gone when the test is. */
export function directory(test) {
  const path = mkdtempSync(join(tmpdir(), 'netcluster-node-'));
  const remove = () => rmSync(path, { recursive: true, force: true });
  // Also if the process ends before its tests do.
  process.on('exit', remove);
  test.after(() => {
    remove();
    process.off('exit', remove);
  });
  return path;
}

/** A broker that ends with the test. */
export async function broker(test, options = {}) {
  const path = options.path ?? join(directory(test), 'bus.sock');
  const started = await startBroker({ timeout: PATIENCE, log: 'error', ...options, path });
  test.after(() => started.stop());
  return started;
}

/** A client that ends with the test. */
export async function client(test, place, options = {}) {
  const made = await connect(place.path ?? place, { brokerWait: PATIENCE, ...options });
  test.after(() => made.destroy());
  return made;
}

/** Waits for something to become true. */
export async function until(what, isTrue) {
  const deadline = performance.now() + PATIENCE;
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await pause(5);
  }
}

/** Waits for a promise, not forever. */
export async function soon(what, promise) {
  const stop = new AbortController();
  const late = pause(PATIENCE, undefined, { signal: stop.signal }).then(
    () => Promise.reject(new Error(`not in time: ${what}`)),
    () => new Promise(() => undefined),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** An event of a client's life. */
export async function lifecycle(client, event) {
  const [value] = await soon(`${event} is told`, once(client.lifecycle, event));
  return value;
}

/** Listens where a broker would, and says what `talk(socket)` says. */
export async function liar(test, talk) {
  const path = join(directory(test), 'liar.sock');
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    talk(socket);
  });
  server.listen(path);
  await once(server, 'listening');
  test.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return path;
}
