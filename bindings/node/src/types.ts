/** Types of events by name: what a pattern matches, worked out by the compiler. */
import type { Message } from './message';

/** Map from names of events to what is emitted with them. */
export type EventMap<Events> = { [Event in keyof Events]: unknown };

/** Names of a map. */
export type EventName<Events> = keyof Events & string;

/** What is emitted with an event. */
export type DataOf<Events, Event extends EventName<Events>> = Events[Event];

/** An argument that may be left out where it may be undefined. */
export type Given<Data> = undefined extends Data ? [data?: Data] : [data: Data];

type Tokens<Name extends string> = Name extends `${infer First}.${infer Rest}` ? [First, ...Tokens<Rest>] : [Name];

type TokensMatch<Name extends string[], Pattern extends string[]> = Pattern extends [
  infer First,
  ...infer Others extends string[],
]
  ? First extends '**'
    ? TokensMatch<Name, Others> extends true
      ? true
      : Name extends [string, ...infer Rest extends string[]]
        ? TokensMatch<Rest, Pattern>
        : false
    : Name extends [infer Token, ...infer Rest extends string[]]
      ? First extends '*'
        ? TokensMatch<Rest, Others>
        : Token extends First
          ? TokensMatch<Rest, Others>
          : false
      : false
  : Name extends []
    ? true
    : false;

/** Names that a pattern matches. */
export type Matching<Events, Pattern extends string> = {
  [Event in EventName<Events>]: TokensMatch<Tokens<Event>, Tokens<Pattern>> extends true ? Event : never;
}[EventName<Events>];

type MessageOfName<Events, Event> = Event extends EventName<Events> ? Message<Events[Event], Event> : never;

/** Messages that listeners of a pattern get; any where nothing is known of the names. */
export type MessageOf<Events, Pattern extends string> = string extends EventName<Events>
  ? Message<Events[EventName<Events>]>
  : string extends Pattern
    ? MessageOfName<Events, EventName<Events>>
    : MessageOfName<Events, Matching<Events, Pattern>>;
