// The systems that are compared, each with the same four calls.

const text = new TextDecoder();

function payload(load) {
  return load.json ? undefined : Buffer.alloc(load.size, 'x');
}

/** What is emitted as JSON: an order, some 100 bytes. */
function order(number) {
  return { id: number, symbol: 'EURUSD', side: 'buy', price: 1.0842, quantity: 100000, tags: ['fx', 'spot'] };
}

/** Times of round trips in µs, one after the other: `send` sends one, whose answer calls `answered`. */
async function trips(load, begin) {
  let answered;
  const send = await begin(() => answered());
  const times = [];
  for (let number = -load.warm; number < load.events; number++) {
    const began = performance.now();
    await new Promise((resolve) => {
      answered = resolve;
      send();
    });
    if (number >= 0) times.push((performance.now() - began) * 1000);
  }
  return times;
}

async function netcluster(load) {
  const { connect } = await import('../index.mjs');
  const client = await connect(load.place, { channel: 'bench' });
  return {
    async listen(count) {
      if (load.batches) {
        client.onBatch('bench', (batch) => {
          let bytes = 0;
          for (let index = 0; index < batch.length; index++) bytes += batch.buffer[batch.start(index)];
          count(bytes, batch.length);
        });
      } else if (load.json) client.on('bench', (message) => count(message.data.id));
      else client.on('bench', (message) => count(message.payload[0]));
      await client.flush();
    },
    async emit() {
      const data = payload(load);
      for (let number = 0; number < load.events; number++) {
        if (!client.emit('bench', data ?? order(number))) await client.drained();
      }
      await client.flush();
    },
    async answer() {
      client.on('ping', (message) => client.emit('pong', message.payload));
      await client.flush();
    },
    trip() {
      const data = payload(load);
      return trips(load, async (answered) => {
        client.on('pong', answered);
        await client.flush();
        return () => client.emit('ping', data);
      });
    },
  };
}

function nats(module) {
  return async (load) => {
    const { connect } = await import(module);
    const client = await connect({ servers: load.place });
    const every = Math.max(1, Math.floor((256 << 10) / (load.size || 100)));
    return {
      async listen(count) {
        client.subscribe('bench', {
          callback: load.json
            ? (_, message) => count(JSON.parse(text.decode(message.data)).id)
            : (_, message) => count(message.data[0]),
        });
        await client.flush();
      },
      async emit() {
        const data = payload(load);
        for (let number = 0; number < load.events; number++) {
          client.publish('bench', data ?? JSON.stringify(order(number)));
          if (number % every === 0) await client.flush();
        }
        await client.flush();
      },
      async answer() {
        client.subscribe('ping', { callback: (_, message) => client.publish('pong', message.data) });
        await client.flush();
      },
      trip() {
        const data = payload(load);
        return trips(load, async (answered) => {
          client.subscribe('pong', { callback: answered });
          await client.flush();
          return () => client.publish('ping', data);
        });
      },
    };
  };
}

export const systems = { netcluster, nats: nats('nats'), 'nats-io': nats('@nats-io/transport-node') };
