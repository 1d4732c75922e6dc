/** Settings of a broker's link to other machines. */
import { kindOf } from './names';
import { checkObject } from './options';

/** Settings of the link; those that are not given are as of a broker that is started with a link alone. */
export interface LinkSettings {
  /** Multicast address and port; `239.255.44.54:4454` unless it is given. */
  group?: string;
  /** Only brokers of the same cluster hear each other. */
  cluster?: string;
  /** The broker's name, for people. */
  name?: string;
  /** Addresses that channels are spread over, the same for all brokers. */
  groups?: number;
  unicast_port?: number;
  /** Network interface, by name or address. */
  interface?: string;
  ttl?: number;
  packet_bytes?: number;
  /** Bytes per second that are sent at most. */
  rate?: number;
  receive_buffer_bytes?: number;
  history_bytes?: number;
  /** Keys of 64 hexadecimal digits; the first one seals. */
  keys?: string[];
  /** Brokers that multicast does not reach, `HOST:PORT`. */
  peers?: string[];
  /** Channels whose emitters wait for slow listeners on other machines, too. */
  pressured?: string[];
}

const DEFAULT_GROUP = '239.255.44.54:4454';

/** Request to open the link. */
export function linkRequest(settings: LinkSettings): { do: string; [key: string]: unknown } {
  checkObject(settings, 'settings');
  const { group = DEFAULT_GROUP, ...others } = settings;
  // Its neighbours belong to other protocols: all channels share the one address.
  if (typeof group !== 'string') throw new TypeError(`\`group\` is a string, not ${kindOf(group)}`);
  const groups = group.startsWith('224.0.0.') ? { groups: 1 } : {};
  return { do: 'link-open', group, ...groups, ...others };
}
