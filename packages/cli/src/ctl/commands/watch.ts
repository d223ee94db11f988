import { spawn } from 'node:child_process';
import {
  between,
  CanceledError,
  type EtcdClient,
  EtcdError,
  prefix,
  WatchCanceledError,
  type Watcher,
} from '@etsd/client';
import { type Event, EventType, WatchResponse } from '@etsd/proto';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments, ExitCode, Failure, Silent } from '../failure.ts';
import { flag, type Parsed, parseFlags } from '../flags.ts';
import { quote } from '../go.ts';
import { LineReader } from '../terminal.ts';
import { watchView } from '../views/kv.ts';
import { wordsOf } from './txn.ts';

const FLAGS = [
  flag('interactive', 'bool', 'false', 'read what to watch from the standard input', 'i'),
  flag('prefix', 'bool', 'false', 'all keys that begin with KEY'),
  flag('prev-kv', 'bool', 'false', 'print what was there before'),
  flag('progress-notify', 'bool', 'false', 'have the server say from time to time how far it is'),
  flag('rev', 'int', '0', 'begin with this revision'),
];

/** What to watch, and the command to run for each event. */
interface Wanted {
  readonly key: string;
  readonly rangeEnd: string | null;
  readonly command: readonly string[];
}

function wantedOf(parsed: Parsed, env: Context['surroundings']['env'], typed: boolean): Wanted {
  const { args, beforeDash } = parsed;
  const keys = beforeDash < 0 ? args : args.slice(0, beforeDash);
  const command = beforeDash < 0 ? [] : args.slice(beforeDash);
  const form = 'write: watch KEY [RANGE_END] [-- COMMAND]';
  if (beforeDash >= 0 && command.length === 0) {
    throw badArguments('bad number of arguments (found separator --, but no commands)', form);
  }
  const envKey = typed ? '' : (env['ETCDCTL_WATCH_KEY'] ?? '');
  const envEnd = typed ? '' : (env['ETCDCTL_WATCH_RANGE_END'] ?? '');
  if (envKey === '' && envEnd !== '') {
    throw badArguments(`ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=${quote(Buffer.from(envEnd))}`);
  }
  if (envKey !== '') {
    if (keys.length > 0) throw badArguments('bad number of arguments (found conflicting environment key)', form);
    return { key: envKey, rangeEnd: envEnd === '' ? null : envEnd, command };
  }
  if (keys.length === 0 || keys.length > 2) throw badArguments('bad number of arguments', form);
  return { key: keys[0] as string, rangeEnd: keys[1] ?? null, command };
}

function begin(client: EtcdClient, wanted: Wanted, parsed: Parsed): Watcher {
  const { values } = parsed;
  const { key, rangeEnd } = wanted;
  const isPrefix = values.flag('prefix');
  if (isPrefix && rangeEnd !== null) throw badArguments('`range_end` and `--prefix` are mutually exclusive');
  const range = isPrefix ? prefix(key) : between(key, rangeEnd ?? '');
  return client.watch(range, {
    startRevision: values.number('rev'),
    prevKv: values.flag('prev-kv'),
    progressNotify: values.flag('progress-notify'),
  });
}

/** Prints until the watch ends, which it does only with an error. */
async function follow(context: Context, watcher: Watcher, command: readonly string[]): Promise<void> {
  const show = (response: WatchResponse): void => {
    const isProgress = response.events.length === 0 && !response.canceled && response.compactRevision === 0;
    if (isProgress) context.line(`progress notify: ${response.header?.revision ?? 0}`);
    context.print(watchView(response, context.style));
  };
  try {
    for await (const response of watcher) {
      show(response);
      if (command.length === 0) continue;
      for (const event of response.events) await runFor(context, command, event, response);
    }
  } catch (error) {
    if (error instanceof CanceledError) return; // by ourselves, since the program ends
    if (!(error instanceof EtcdError)) throw error;
    context.warn(`watch was canceled (${error.message})`);
    if (error instanceof WatchCanceledError) {
      // A watch that never was is reported without a header.
      show(error.response.created ? WatchResponse.create({ canceled: true }) : error.response);
    }
  }
  throw new Failure(ExitCode.INTERRUPTED, 'watch is canceled by the server');
}

/** Runs the command with the event in its environment. One that fails ends the watch. */
async function runFor(
  context: Context,
  command: readonly string[],
  event: Event,
  response: WatchResponse,
): Promise<void> {
  const { header } = response;
  const variables = {
    ETCD_WATCH_REVISION: String(header?.revision ?? 0),
    ETCD_WATCH_EVENT_TYPE: quote(Buffer.from(event.type === EventType.PUT ? 'PUT' : 'DELETE')),
    ETCD_WATCH_KEY: quote(event.kv?.key ?? Buffer.alloc(0)),
    ETCD_WATCH_VALUE: quote(event.kv?.value ?? Buffer.alloc(0)),
  };
  const failure = await new Promise<string | null>((resolve) => {
    const child = spawn(command[0] as string, command.slice(1), {
      stdio: ['inherit', 'inherit', 'inherit'],
      env: { ...context.surroundings.env, ...variables },
    });
    child.on('error', () => resolve(`exec: "${command[0]}": executable file not found in $PATH`));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(null);
      else resolve(signal === null ? `exit status ${code}` : `signal: ${signal}`);
    });
  });
  if (failure === null) return;
  const words = command.map((word) => quote(Buffer.from(word))).join(' ');
  context.warn(`command [${words}] error (${failure})`);
  throw new Silent(ExitCode.ERROR);
}

function typedFlags(words: readonly string[]): Parsed {
  try {
    return parseFlags(words, FLAGS);
  } catch (error) {
    if (error instanceof Failure) throw badArguments(error.message, error.hint);
    throw error;
  }
}

/** Reads `watch …` and `progress` lines, each watch going on beside the others. */
async function interactive(context: Context): Promise<void> {
  const client = await context.client();
  const reader = new LineReader(context.surroundings.stdin);
  const watchers: Watcher[] = [];
  let failed: (error: unknown) => void = () => {};
  const failure = new Promise<never>((_resolve, reject) => {
    failed = reject;
  });
  failure.catch(() => {});
  for (;;) {
    const line = await Promise.race([reader.next(), failure]);
    if (line === null) throw new Failure(ExitCode.INVALID_INPUT, 'error reading watch request line: EOF');
    const text = line.trim();
    const [verb = '', ...words] = wordsOf(text);
    if (verb === 'progress') {
      // All watches of a client are on one stream, and all of them are told.
      watchers.some((watcher) => watcher.requestProgress());
    } else if (verb === '' || (verb !== 'watch' && words.length > 0)) {
      context.warn(
        verb === ''
          ? 'Invalid command:  (watch and progress supported)'
          : `Invalid command ${text} (only support watch)`,
      );
    } else if (verb !== 'watch') context.warn(`Invalid command ${text} (only support watch)`);
    else if (words.length === 0) context.warn(`Invalid command ${text} (command type or key is not provided)`);
    else {
      const parsed = typedFlags(words);
      try {
        const wanted = wantedOf(parsed, context.surroundings.env, true);
        const watcher = begin(client, wanted, parsed);
        watchers.push(watcher);
        void follow(context, watcher, wanted.command).catch(failed);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        context.warn(`Invalid command ${text} (${error.message})`);
      }
    }
  }
}

export const WATCH_COMMAND: Command = {
  name: 'watch',
  summary: 'Print changes as they happen',
  usage: 'KEY [RANGE_END] [-- COMMAND ARGS…]',
  group: 'Keys and values',
  description: [
    'Runs until interrupted. A COMMAND is run for each event and finds it in its environment: ETCD_WATCH_REVISION,',
    'ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE. ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END stand in',
    'for KEY and RANGE_END.',
  ].join('\n'),
  examples: [
    ['One key', 'watch foo'],
    ['All keys that begin with "app/", since revision 7', 'watch app/ --prefix --rev=7'],
    ['Reload on every change', 'watch config -- systemctl reload app'],
    ['Several watches typed in', 'watch -i'],
  ],
  flags: FLAGS,
  async run(context) {
    if (context.flags.flag('interactive')) return interactive(context);
    const parsed = { values: context.flags, args: [...context.args], beforeDash: context.beforeDash };
    const wanted = wantedOf(parsed, context.surroundings.env, false);
    const client = await context.client();
    await follow(context, begin(client, wanted, parsed), wanted.command);
  },
};
