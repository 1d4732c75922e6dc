/** Patterns as a trie of tokens: which of them match a name. */

interface Node {
  /** Pattern that ends here. */
  pattern: string | undefined;
  tokens: Map<string, Node>;
  /** Behind `*`. */
  one: Node | undefined;
  /** Behind `**`. */
  deep: Node | undefined;
}

function node(): Node {
  return { pattern: undefined, tokens: new Map(), one: undefined, deep: undefined };
}

/** A set of patterns. */
export class Trie {
  #root = node();

  /** Adds a pattern. */
  add(pattern: string): void {
    let at = this.#root;
    for (const token of pattern.split('.')) {
      if (token === '*') at = at.one ??= node();
      else if (token === '**') at = at.deep ??= node();
      else {
        let next = at.tokens.get(token);
        if (next === undefined) at.tokens.set(token, (next = node()));
        at = next;
      }
    }
    at.pattern = pattern;
  }

  /** Removes a pattern, and the branch that only it needed. */
  remove(pattern: string): void {
    remove(this.#root, pattern.split('.'), 0);
  }

  /** The patterns that match a name, each once. */
  matches(name: string): Set<string> {
    const found = new Set<string>();
    collect(this.#root, name.split('.'), 0, found);
    return found;
  }
}

function collect(at: Node, tokens: string[], index: number, found: Set<string>): void {
  if (index === tokens.length) {
    if (at.pattern !== undefined) found.add(at.pattern);
  } else {
    const next = at.tokens.get(tokens[index]!);
    if (next !== undefined) collect(next, tokens, index + 1, found);
    if (at.one !== undefined) collect(at.one, tokens, index + 1, found);
  }
  if (at.deep !== undefined) {
    for (let rest = index; rest <= tokens.length; rest++) collect(at.deep, tokens, rest, found);
  }
}

/** Removes what lies on the way and is empty then; whether `at` is empty. */
function remove(at: Node, tokens: string[], index: number): boolean {
  if (index === tokens.length) {
    at.pattern = undefined;
  } else {
    const token = tokens[index]!;
    if (token === '*') {
      if (at.one !== undefined && remove(at.one, tokens, index + 1)) at.one = undefined;
    } else if (token === '**') {
      if (at.deep !== undefined && remove(at.deep, tokens, index + 1)) at.deep = undefined;
    } else {
      const next = at.tokens.get(token);
      if (next !== undefined && remove(next, tokens, index + 1)) at.tokens.delete(token);
    }
  }
  return (
    at.pattern === undefined && at.tokens.size === 0 && at.one === undefined && at.deep === undefined
  );
}
