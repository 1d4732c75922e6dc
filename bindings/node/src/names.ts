/** Rules for event names, channel names and patterns. */
import { NetclusterError } from './errors';
import { MAX_DEEP_WILDCARDS, MAX_NAME_BYTES } from './limits';

/** `a string`, `an object`. */
export function withArticle(noun: string): string {
  return `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;
}

/** What kind of value something is, in words of an error. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return withArticle(Array.isArray(value) ? 'array' : typeof value);
}

function checkLength(what: string, text: unknown, code: 'NAME' | 'PATTERN'): asserts text is string {
  if (typeof text !== 'string') throw new TypeError(`${what} is a string, not ${kindOf(text)}`);
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > MAX_NAME_BYTES) {
    throw new NetclusterError(code, `${what} has 1 to ${MAX_NAME_BYTES} bytes, not ${bytes}`);
  }
  if (!text.isWellFormed()) {
    throw new NetclusterError(code, `${what} is Unicode: it has half of a surrogate pair`);
  }
}

/** Checks the name of an event. @throws NetclusterError `NAME` */
export function checkEvent(event: unknown): asserts event is string {
  checkLength('an event name', event, 'NAME');
  for (const token of event.split('.')) {
    if (token === '*' || token === '**') {
      throw new NetclusterError('NAME', `no token of an event name is \`${token}\`: ${event}`);
    }
  }
}

/** Checks the name of a channel. @throws NetclusterError `NAME` */
export function checkChannel(channel: unknown): asserts channel is string {
  checkLength('a channel name', channel, 'NAME');
}

/** Wildcards of other systems, which would match nothing but themselves. */
const FOREIGN: ReadonlySet<string> = new Set(['>', '#', '+', '*', '**']);

function isForeign(token: string): boolean {
  if (token === '*' || token === '**') return false;
  if (token.includes('*') || FOREIGN.has(token)) return true;
  return token.includes('/') && token.split('/').some((part) => FOREIGN.has(part));
}

/** Checks a pattern. @throws NetclusterError `PATTERN` */
export function checkPattern(pattern: unknown): asserts pattern is string {
  checkLength('a pattern', pattern, 'PATTERN');
  const tokens = pattern.split('.');
  const foreign = tokens.find(isForeign);
  if (foreign !== undefined) {
    throw new NetclusterError(
      'PATTERN',
      `\`${foreign}\` in ${pattern} is no wildcard here: \`*\` is one token between dots, \`**\` any number`,
    );
  }
  if (tokens.filter((token) => token === '**').length > MAX_DEEP_WILDCARDS) {
    throw new NetclusterError('PATTERN', `a pattern has at most ${MAX_DEEP_WILDCARDS} \`**\`: ${pattern}`);
  }
}
