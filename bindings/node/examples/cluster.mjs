// Workers of the `cluster` module that tell each other things, in place of `process.send` by way
// of the primary: any worker hears any other, and the primary. Ends by itself.
import cluster from 'node:cluster';
import { connect } from 'netcluster';

const WORKERS = 3;

if (cluster.isPrimary) {
  const client = await connect();
  const heard = [];
  const ready = client.subscribe('ready');
  client.on('heard', ({ data }) => heard.push(`${data.worker} heard of ${data.from}`));
  await client.flush();
  for (let worker = 0; worker < WORKERS; worker++) cluster.fork();
  let missing = WORKERS;
  for await (const _ of ready) if (--missing === 0) break;

  client.emit('begin');
  let left = WORKERS;
  cluster.on('exit', async () => {
    if (--left > 0) return;
    await client.flush();
    console.log(heard.sort().join('\n'));
    await client.disconnect();
  });
} else {
  const { id } = cluster.worker;
  const client = await connect();
  const from = new Set();
  client.on('begin', () => client.emit('cache.changed', { worker: id }));
  client.on('cache.changed', async ({ data }) => {
    client.emit('heard', { worker: id, from: data.worker });
    from.add(data.worker);
    if (from.size < WORKERS - 1) return;
    // All others were heard.
    await client.disconnect();
    process.exit();
  });
  await client.flush();
  client.emit('ready');
}
