/** The broker's program: where it is found. */
import { accessSync, constants, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { NetclusterError } from './errors';

/** Environment variable that names the program. */
export const BINARY_VARIABLE = 'NETCLUSTER_BIN';

const PROGRAM = process.platform === 'win32' ? 'netcluster.exe' : 'netcluster';

/** Name of the package that has the program for a kind of machine. */
export function brokerPackage(platform: string = process.platform, arch: string = process.arch): string {
  return `@netcluster/broker-${platform}-${arch}`;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function inPath(): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, PROGRAM)).find(isProgram);
}

function inPackage(): string | undefined {
  try {
    const manifest = createRequire(__filename).resolve(`${brokerPackage()}/package.json`);
    const path = join(dirname(manifest), 'bin', PROGRAM);
    return isProgram(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Finds the broker's program: the one that `NETCLUSTER_BIN` names, else the first in `PATH`, else
 * that of the package for this kind of machine.
 *
 * @throws NetclusterError `NO_BINARY`
 */
export function findBroker(): string {
  const named = process.env[BINARY_VARIABLE];
  if (named !== undefined && named !== '') {
    if (isProgram(named)) return named;
    throw new NetclusterError('NO_BINARY', `${BINARY_VARIABLE} names ${named}, which is no program`);
  }
  const found = inPath() ?? inPackage();
  if (found !== undefined) return found;
  throw new NetclusterError(
    'NO_BINARY',
    `the broker's program \`netcluster\` is not in PATH: install it (cargo install netcluster, or npm install ${brokerPackage()}), or name it in ${BINARY_VARIABLE}`,
  );
}
