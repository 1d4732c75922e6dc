/** What the compiler must accept and refuse; checked by `tsc --noEmit`, never run. */
import { connect } from 'netcluster';
import type { Client, LossNotice, Message } from 'netcluster';

interface Events {
  'order.new': { id: number };
  'order.done': string;
  tick: Buffer;
  empty: undefined;
}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <T extends true>(..._: T[]): void => undefined;

export async function accepted(): Promise<void> {
  const client: Client<Events> = await connect<Events>('/run/bus.sock', { name: 'types', queue: 'latest' });
  client.emit('order.new', { id: 1 });
  client.emit('tick', Buffer.alloc(1));
  client.emit('empty');
  client.on('order.new', (message) => is<Equal<typeof message.data, { id: number }>>());
  client.on('order.*', (message) => is<Equal<typeof message.data, { id: number } | string>>());
  client.on('*', (message) => is<Equal<typeof message.event, 'tick' | 'empty'>>());
  client.on('**', (message) => {
    if (message.event === 'tick') is<Equal<typeof message.data, Buffer>>();
  });
  client.on('**.done', (message) => is<Equal<typeof message.data, string>>());
  client.once('tick', (message) => message.data.readUInt8(0)).prependListener('tick', () => undefined);
  client.onBatch('order.done', (batch) => is<Equal<ReturnType<typeof batch.data>, string>>());
  for await (const message of client.subscribe('order.done', { signal: AbortSignal.timeout(1) })) is<Equal<typeof message.data, string>>();
  for await (const item of client.subscribe('tick', { losses: true })) {
    is<Equal<typeof item, Message<Buffer, 'tick'> | LossNotice>>();
    if (item.event === undefined) is<Equal<typeof item, LossNotice>>();
  }
  client.lifecycle.on('lost', ({ source, count, reason }) => [source?.node, count, reason]);
  client.lifecycle.on('disconnect', ({ reason }) => reason.code satisfies string);
  // @ts-expect-error: not what is emitted with this name
  client.emit('order.new', { id: 'one' });
  // @ts-expect-error: something is emitted with this name
  client.emit('order.new');
  // @ts-expect-error: no such event
  client.emit('order.gone', 1);
  // @ts-expect-error: it needs its data's type
  client.on('order.done', (message) => message.data.toFixed());
  // @ts-expect-error: no such option
  await connect({ chanel: 'x' });

  await using untyped = await connect();
  untyped.emit('anything', { at: 'all' });
  untyped.on('a.**', (message) => message.data.whatever);
}
