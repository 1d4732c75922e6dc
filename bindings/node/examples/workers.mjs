// Worker threads that share work out and gather it, in place of postMessage: each thread has a
// client of its own, so the same code works across processes and machines. Ends by itself.
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';
import { connect } from 'netcluster';

const WORKERS = 4;

if (isMainThread) {
  const client = await connect();
  const sums = new Map();
  const ready = client.subscribe('worker.*.ready');
  client.on('worker.*.sum', ({ data }) => sums.set(data.worker, data.sum));
  await client.flush();
  const workers = Array.from({ length: WORKERS }, (_, worker) => new Worker(fileURLToPath(import.meta.url), { workerData: { worker } }));
  let missing = WORKERS;
  for await (const _ of ready) if (--missing === 0) break;

  for (let number = 1; number <= 1000; number++) client.emit(`worker.${number % WORKERS}.add`, { number });
  client.emit('workers.done');
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  await client.flush();
  console.log(`sum ${[...sums.values()].reduce((one, two) => one + two, 0)} of ${sums.size} workers`);
  await client.disconnect();
} else {
  const { worker } = workerData;
  const client = await connect();
  let sum = 0;
  client.on(`worker.${worker}.add`, ({ data }) => (sum += data.number));
  client.on('workers.done', async () => {
    client.emit(`worker.${worker}.sum`, { worker, sum });
    await client.disconnect();
  });
  await client.flush();
  client.emit(`worker.${worker}.ready`);
}
