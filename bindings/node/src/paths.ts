/** Where brokers listen: the default places, and the ones that Windows paths stand for. */
import { lstatSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { NetclusterError } from './errors';

const isWindows = process.platform === 'win32';

/** Socket of root's broker, which serves the whole machine. */
const SYSTEM_SOCKET = isWindows ? '\\\\.\\pipe\\netcluster-default' : '/run/netcluster/default.sock';

/** Start of a pipe's name on Windows, whichever way it is written. */
const PIPE = /^[\\/]{2}[?.][\\/]pipe[\\/]/i;

function uid(): number {
  return process.getuid?.() ?? userInfo().uid;
}

/** Directory of this user's sockets: that of the one which the environment names, if it does. */
export function runtimeDirectory(): string {
  const name = named();
  return name === undefined ? ownDirectory() : dirname(resolve(name));
}

function ownDirectory(): string {
  if (uid() === 0) return '/run/netcluster';
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return runtime !== undefined && isAbsolute(runtime) ? join(runtime, 'netcluster') : `/tmp/netcluster-${uid()}`;
}

function ownSocket(): string {
  return isWindows ? SYSTEM_SOCKET : join(ownDirectory(), 'default.sock');
}

function named(): string | undefined {
  return process.env['NETCLUSTER_SOCKET'] || undefined;
}

/** Where a broker of this user listens unless it is told otherwise. */
export function defaultSocketPath(): string {
  return named() ?? ownSocket();
}

/** Where clients look for the machine's broker, in this order. */
export function defaultSocketPaths(): string[] {
  const name = named();
  return name !== undefined ? [name] : [...new Set([ownSocket(), SYSTEM_SOCKET])];
}

/**
 * The place that a path stands for: on Unix that of `\\?\pipe\netcluster-NAME` is `NAME.sock`
 * in the directory of the user's sockets; on Windows a plain name is that of a pipe.
 */
export function socketPath(path: string): string {
  const pipe = PIPE.exec(path);
  if (isWindows) return pipe ? `\\\\.\\pipe\\${path.slice(pipe[0].length)}` : path;
  // An empty one stays so: it is no way to say `here`.
  if (pipe === null) return path === '' ? path : resolve(path);
  const name = path.slice(pipe[0].length).replace(/^netcluster-/, '').replace(/[\\/]/g, '-');
  return join(runtimeDirectory(), `${name || 'default'}.sock`);
}

/** The longest path of a socket, in bytes. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/**
 * Refuses a path at which there can be no socket.
 *
 * @throws NetclusterError `CONNECT`
 */
export function checkForm(path: string): void {
  const bytes = Buffer.byteLength(path);
  let flaw: string | undefined;
  if (bytes === 0) flaw = "the path is empty: give that of a broker's socket";
  else if (path.includes('\0')) flaw = 'the path has a NUL in it';
  else if (!isWindows && bytes > MAX_PATH_BYTES) {
    flaw = `the path has ${bytes} bytes, and that of a socket at most ${MAX_PATH_BYTES}: choose a shorter one`;
  }
  if (flaw !== undefined) throw new NetclusterError('CONNECT', `cannot connect to ${path}: ${flaw}`);
}

/**
 * Refuses a default socket whose directory anybody could have made and somebody else did.
 *
 * @throws NetclusterError `UNTRUSTED_SOCKET`
 */
export function checkPlace(path: string): void {
  if (isWindows || (path !== ownSocket() && path !== SYSTEM_SOCKET)) return;
  const directory = dirname(path);
  const around = statSync(dirname(directory), { throwIfNoEntry: false });
  const status = lstatSync(directory, { throwIfNoEntry: false });
  if (around === undefined || status === undefined || (around.mode & 0o1002) === 0) return;
  let flaw: string | undefined;
  if (status.uid !== (process.geteuid?.() ?? uid()) && status.uid !== 0) flaw = `belongs to user ${status.uid}`;
  else if (status.isSymbolicLink()) flaw = 'is a symbolic link';
  else if ((status.mode & 0o022) !== 0) flaw = 'may be written to by others (chmod go-w is enough if it is yours)';
  if (flaw !== undefined) {
    throw new NetclusterError(
      'UNTRUSTED_SOCKET',
      `cannot connect to ${path}: anybody could have made ${directory}, and it ${flaw}: ` +
        'have it removed and start the broker anew, or choose another socket path',
    );
  }
}
