#!/usr/bin/env node
/** `ncserver [CONFIG]`: the original's server, by its configuration. */
import { join } from 'node:path';
import { readConfig } from '../original/config';
import { NCServer } from '../original/server';

const path = process.argv[2] ?? join(__dirname, '..', '..', 'config.json');
const server = new NCServer();
server.onerror = (error) => {
  console.error(`ncserver: ${error.message}`);
  process.exitCode = 1;
  server.stop(() => process.exit());
};
try {
  server.config = readConfig(path);
} catch (error) {
  console.error(`ncserver: ${path}: ${(error as Error).message}`);
  process.exit(2);
}
server.start(() => console.log(`ncserver runs by ${path}`));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => server.stop(() => process.exit()));
}
