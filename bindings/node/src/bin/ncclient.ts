#!/usr/bin/env node
/**
 * `ncclient`: a prompt that asks the server of this machine. Its functions are called as in
 * JavaScript: `showconfig()`, `showchannel('A')`, `showclient('A', '7')`, `reloadconfig('/path')`.
 */
import { randomUUID } from 'node:crypto';
import { start } from 'node:repl';
import { inspect } from 'node:util';
import { connect } from '../client';
import type { Client } from '../client';
import { ANSWER, CONTROL_CHANNEL, QUESTION } from '../original/control';
import type { Answer, Question } from '../original/control';

/** How long an answer is waited for, in ms. */
const PATIENCE_MS = 5000;

function ask(client: Client, command: string, args: unknown[]): Promise<unknown> {
  const question: Question = { id: randomUUID(), command, args };
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      client.off(ANSWER, heard);
    };
    const heard = ({ data }: { data: Answer }): void => {
      if (data.id !== question.id) return;
      done();
      if (data.error === undefined) resolve(data.result);
      else reject(new Error(data.error));
    };
    const timer = setTimeout(() => {
      done();
      reject(new Error('no server answers: does `ncserver` run, with startcontrol in its configuration?'));
    }, PATIENCE_MS);
    client.on(ANSWER, heard);
    client.emit(QUESTION, question);
  });
}

async function main(): Promise<void> {
  const client = await connect({ channel: CONTROL_CHANNEL, name: 'ncclient' });
  const asked = new Set<Promise<void>>();
  const command = (name: string) => (...args: unknown[]): string => {
    const answer = ask(client, name, args)
      .then(
        (result) => console.log(inspect(result, { depth: 6 })),
        (error: Error) => console.error(error.message),
      )
      .finally(() => asked.delete(answer));
    asked.add(answer);
    return `${name}…`;
  };
  const prompt = start({ prompt: 'netcluster> ', ignoreUndefined: true });
  for (const name of ['showconfig', 'showchannel', 'showclient', 'reloadconfig']) prompt.context[name] = command(name);
  // As the original's document wrote it.
  prompt.context['reloaconfig'] = prompt.context['reloadconfig'];
  prompt.on('exit', () => {
    void Promise.all(asked).then(() => client.disconnect());
  });
}

main().catch((error: Error) => {
  console.error(`ncclient: ${error.message}`);
  process.exit(3);
});
