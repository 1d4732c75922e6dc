/** `config.json` of the original's last version. */
import { readFileSync } from 'node:fs';
import { checkChannel, kindOf, withArticle } from '../names';

/** Rules of a channel. */
export interface ChannelConfig {
  /** Channels that events are passed on to: an anchored regular expression of their names. */
  propagatetochannels?: false | string;
  /** Whether events go to other machines. */
  propagatetonet?: boolean;
  /** Whether events are printed. */
  dumptoconsole?: boolean;
}

/** Configuration of a server. */
export interface ServerConfig {
  /** Multicast address. */
  addr?: string;
  /** Multicast port. */
  port?: number;
  /** Whether there is a link to other machines at all. */
  connecttonet?: boolean;
  /** Whether what comes from other machines is printed. */
  dumpnet?: boolean;
  /** Whether `ncclient` is answered. */
  startcontrol?: boolean;
  channels?: Record<string, ChannelConfig>;
}

function isObject(value: unknown, what: string): void {
  if (typeof value !== 'object' || value === null) throw new TypeError(`config: ${what} is an object, not ${kindOf(value)}`);
}

/** Checks a configuration. @throws TypeError */
export function checkConfig(config: unknown): asserts config is ServerConfig {
  const is = (value: unknown, type: string, what: string): void => {
    if (value !== undefined && typeof value !== type) throw new TypeError(`config: ${what} is ${withArticle(type)}, not ${kindOf(value)}`);
  };
  isObject(config, 'it');
  const { addr, port, connecttonet, dumpnet, startcontrol, channels = {} } = config as ServerConfig;
  is(addr, 'string', 'addr');
  is(port, 'number', 'port');
  is(connecttonet, 'boolean', 'connecttonet');
  is(dumpnet, 'boolean', 'dumpnet');
  is(startcontrol, 'boolean', 'startcontrol');
  isObject(channels, 'channels');
  for (const [name, channel] of Object.entries(channels)) {
    checkChannel(name);
    isObject(channel, `channels.${name}`);
    if (channel.propagatetochannels !== false) is(channel.propagatetochannels, 'string', `channels.${name}.propagatetochannels`);
    is(channel.propagatetonet, 'boolean', `channels.${name}.propagatetonet`);
    is(channel.dumptoconsole, 'boolean', `channels.${name}.dumptoconsole`);
  }
}

/** Reads a configuration from a file. @throws Error */
export function readConfig(path: string): ServerConfig {
  const config: unknown = JSON.parse(readFileSync(path, 'utf8'));
  checkConfig(config);
  return config;
}

/** Channels that events of this one are passed on to. */
export function targetsOf(name: string, channels: Record<string, ChannelConfig>): string[] {
  const rule = channels[name]?.propagatetochannels;
  if (typeof rule !== 'string') return [];
  const expression = new RegExp(`^(?:${rule})$`);
  return Object.keys(channels).filter((other) => other !== name && expression.test(other));
}

/** Multicast address and port as the broker takes them. */
export function linkAddress(config: ServerConfig): string {
  const { addr = '239.255.44.54', port = 4454 } = config;
  return addr.includes(':') ? `[${addr}]:${port}` : `${addr}:${port}`;
}
