/** get, put, del, compaction. The requests are made apart from the commands, since `txn` reads them from its input too. */

import { EMPTY } from '@etsd/base';
import { between, from, type KeyRange, prefix } from '@etsd/client';
import { DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget } from '@etsd/proto';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { type Flag, type FlagValues, flag } from '../flags.ts';
import { parseHexId, parseInteger, quote } from '../go.ts';
import { readAll } from '../terminal.ts';
import { compactionView, deleteView, getView, putView } from '../views/kv.ts';

const GROUP = 'Keys and values';
/** How long etcdctl 3.6 waits before it removes a range that was not marked as one. */
const SECOND_THOUGHTS_MS = 2000;

// ── get ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export const GET_FLAGS: readonly Flag[] = [
  flag('consistency', 'string', 'l', 'l: confirmed by a majority; s: what one member knows'),
  flag('count-only', 'bool', 'false', 'only how many keys there are (with -w fields)'),
  flag('from-key', 'bool', 'false', 'all keys from KEY on'),
  flag('keys-only', 'bool', 'false', 'without the values'),
  flag('limit', 'int', '0', 'so many keys at most; 0 for all'),
  flag('max-create-rev', 'int', '0', 'only keys created at this revision or before'),
  flag('max-mod-rev', 'int', '0', 'only keys last changed at this revision or before'),
  flag('min-create-rev', 'int', '0', 'only keys created at this revision or later'),
  flag('min-mod-rev', 'int', '0', 'only keys last changed at this revision or later'),
  flag('order', 'string', '', 'ASCEND or DESCEND'),
  flag('prefix', 'bool', 'false', 'all keys that begin with KEY'),
  flag('print-value-only', 'bool', 'false', 'only the values (with -w simple)'),
  flag('rev', 'int', '0', 'as of this revision'),
  flag('sort-by', 'string', '', 'CREATE, KEY, MODIFY, VALUE or VERSION'),
  flag('stream', 'bool', 'false', 'print keys as they come instead of all at the end (with -w simple)'),
];

const EXCLUSIVE = '`--prefix` and `--from-key` cannot be set at the same time, choose one';
const TOO_MANY = 'too many arguments, only accept one argument when `--prefix` or `--from-key` is set';

/** The range that arguments and flags name. An end where the flags say it already is refused. */
function rangeOf(args: readonly string[], flags: FlagValues): KeyRange {
  const [key = '', end] = args;
  const isPrefix = flags.flag('prefix');
  const isOpen = flags.flag('from-key');
  if ((isPrefix || isOpen) && args.length > 1) throw badArguments(TOO_MANY);
  if (isPrefix) return prefix(key);
  if (isOpen) return from(key);
  return end === undefined ? { key: Buffer.from(key), rangeEnd: EMPTY } : between(key, end);
}

const ORDERS: Record<string, number> = { '': SortOrder.NONE, ASCEND: SortOrder.ASCEND, DESCEND: SortOrder.DESCEND };
const TARGETS: Record<string, number> = {
  '': SortTarget.KEY,
  CREATE: SortTarget.CREATE,
  KEY: SortTarget.KEY,
  MODIFY: SortTarget.MOD,
  VALUE: SortTarget.VALUE,
  VERSION: SortTarget.VERSION,
};

function chosen(table: Record<string, number>, text: string, problem: string): number {
  const number = table[text.toUpperCase()];
  if (number !== undefined) return number;
  const hint = `it is one of ${Object.keys(table).filter(Boolean).join(', ')}`;
  throw new Failure(ExitCode.BAD_FEATURE, `${problem} ${text}`, hint);
}

export function getRequest(args: readonly string[], flags: FlagValues): RangeRequest {
  if (args.length === 0) {
    throw badArguments('get command needs one argument as key and an optional argument as range_end', 'write: get KEY');
  }
  if (flags.flag('prefix') && flags.flag('from-key')) throw badArguments(EXCLUSIVE);
  if (flags.flag('keys-only') && flags.flag('count-only')) {
    throw badArguments('`--keys-only` and `--count-only` cannot be set at the same time, choose one');
  }
  const consistency = flags.text('consistency');
  if (consistency !== 'l' && consistency !== 's') {
    throw new Failure(ExitCode.BAD_FEATURE, `unknown consistency flag "${consistency}"`, 'write --consistency=l or =s');
  }
  const range = rangeOf(args, flags);
  let sortOrder = chosen(ORDERS, flags.text('order'), 'bad sort order');
  const sortTarget = chosen(TARGETS, flags.text('sort-by'), 'bad sort target');
  if (sortOrder === SortOrder.NONE && flags.text('sort-by') !== '' && sortTarget !== SortTarget.KEY) {
    sortOrder = SortOrder.ASCEND;
  }
  return RangeRequest.create({
    ...range,
    limit: flags.number('limit'),
    revision: Math.max(0, flags.number('rev')),
    sortOrder: sortOrder as RangeRequest['sortOrder'],
    sortTarget: sortTarget as RangeRequest['sortTarget'],
    serializable: consistency === 's',
    keysOnly: flags.flag('keys-only'),
    countOnly: flags.flag('count-only'),
    minModRevision: flags.number('min-mod-rev'),
    maxModRevision: flags.number('max-mod-rev'),
    minCreateRevision: flags.number('min-create-rev'),
    maxCreateRevision: flags.number('max-create-rev'),
  });
}

/** Keys that `--stream` fetches at once. */
const STREAM_PAGE_KEYS = 1000;

/** Prints a range of any size page by page, all of one revision, and holds no more of it than a page. */
async function streamRange(context: Context, request: RangeRequest): Promise<void> {
  if (
    request.countOnly ||
    request.limit > 0 ||
    request.sortOrder !== SortOrder.NONE ||
    context.style.format !== 'simple'
  ) {
    const hint = 'leave --limit, --order, --sort-by, --count-only and -w away';
    throw badArguments('`--stream` prints whole ranges in the order of their keys', hint);
  }
  const client = await context.client();
  const valueOnly = context.flags.flag('print-value-only');
  const page = RangeRequest.create({ ...request, limit: STREAM_PAGE_KEYS });
  for (;;) {
    const response = await client.kv.range(page, context.short);
    context.print(getView(response, context.style, valueOnly));
    const last = response.kvs.at(-1);
    if (!response.more || last === undefined) return;
    page.key = Buffer.concat([last.key, Buffer.from([0])]);
    page.revision = page.revision > 0 ? page.revision : (response.header?.revision ?? 0);
  }
}

const get: Command = {
  name: 'get',
  summary: 'Print a key or a range of keys',
  usage: 'KEY [RANGE_END]',
  group: GROUP,
  description:
    'Prints each key and its value on a line of its own. With RANGE_END the keys from KEY up to, but not including, it.',
  examples: [
    ['One key', 'get foo'],
    ['All keys that begin with "app/", newest change first', 'get app/ --prefix --sort-by=MODIFY --order=DESCEND'],
    ['How many keys there are', "get '' --prefix --count-only -w fields"],
    ['What a key was at revision 7', 'get foo --rev=7'],
  ],
  flags: GET_FLAGS,
  async run(context) {
    const { flags } = context;
    const request = getRequest(context.args, flags);
    const client = await context.client();
    if (flags.flag('stream')) {
      await streamRange(context, request);
      return;
    }
    const response = await client.kv.range(request, context.short);
    const { format } = context.style;
    if (request.countOnly && format !== 'fields') {
      throw badArguments('--count-only is only for `--write-out=fields`', 'add -w fields');
    }
    const valueOnly = flags.flag('print-value-only');
    if (valueOnly && format !== 'simple') {
      throw badArguments('print-value-only is only for `--write-out=simple`', 'leave -w away');
    }
    context.print(getView(response, context.style, valueOnly));
  },
};

// ── put ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export const PUT_FLAGS: readonly Flag[] = [
  flag('ignore-lease', 'bool', 'false', 'keep the lease the key has'),
  flag('ignore-value', 'bool', 'false', 'keep the value the key has'),
  flag('lease', 'string', '0', 'lease (in hexadecimal) that holds the key'),
  flag('prev-kv', 'bool', 'false', 'print what was there before'),
];

/** `readValue` gives the value where it is not among the arguments. */
export async function putRequest(
  args: readonly string[],
  flags: FlagValues,
  readValue: (() => Promise<Buffer>) | null,
): Promise<PutRequest> {
  const needs = 'put command needs 1 argument and input from stdin or 2 arguments';
  if (args.length === 0) throw badArguments(needs, 'write: put KEY VALUE');
  const ignoreValue = flags.flag('ignore-value');
  if (ignoreValue && args.length > 1) {
    throw badArguments("put command needs only 1 argument when 'ignore-value' is set");
  }
  let value: Buffer = EMPTY;
  if (args[1] !== undefined) value = Buffer.from(args[1]);
  else if (!ignoreValue) {
    if (readValue === null) throw badArguments(needs, 'write: put KEY VALUE');
    value = await readValue();
    if (value.length === 0) throw badArguments(needs, "write: put KEY '' for an empty value");
  }
  const lease = parseHexId(flags.text('lease'), 'ParseInt');
  if ('problem' in lease) throw badArguments(`bad lease ID (${lease.problem}), expecting ID in Hex`);
  return PutRequest.create({
    key: Buffer.from(args[0] as string),
    value,
    lease: lease.id,
    prevKv: flags.flag('prev-kv'),
    ignoreValue,
    ignoreLease: flags.flag('ignore-lease'),
  });
}

const put: Command = {
  name: 'put',
  summary: 'Set a key to a value',
  usage: 'KEY [VALUE]',
  group: GROUP,
  description:
    'Without VALUE it is read from the standard input, all of it. A VALUE that begins with "-" goes behind "--".',
  examples: [
    ['Set a key', 'put foo bar'],
    ['From a file', 'put config < config.json'],
    ['A value that looks like a flag', 'put foo -- --bar'],
    ['A key that goes when its lease ends', 'put foo bar --lease=32698142c52a170a'],
  ],
  flags: PUT_FLAGS,
  async run(context) {
    const request = await putRequest(context.args, context.flags, () => readAll(context.surroundings.stdin));
    const client = await context.client();
    context.print(putView(await client.kv.putRaw(request, context.short), context.style));
  },
};

// ── del ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export const DEL_FLAGS: readonly Flag[] = [
  flag('from-key', 'bool', 'false', 'all keys from KEY on'),
  flag('prefix', 'bool', 'false', 'all keys that begin with KEY'),
  flag('prev-kv', 'bool', 'false', 'print what was removed'),
  flag('range', 'bool', 'false', 'the range is meant: no warning'),
];

export function deleteRequest(args: readonly string[], flags: FlagValues): DeleteRangeRequest {
  if (args.length === 0 || args.length > 2) {
    const form =
      args.length === 0 ? 'write: del KEY' : 'write: del KEY RANGE_END; of several keys, one after the other';
    throw badArguments('del command needs one argument as key and an optional argument as range_end', form);
  }
  if (flags.flag('prefix') && flags.flag('from-key')) throw badArguments(EXCLUSIVE);
  return DeleteRangeRequest.create({ ...rangeOf(args, flags), prevKv: flags.flag('prev-kv') });
}

/** As etcdctl 3.6 does it: two arguments may be two keys to somebody who did not look. */
async function timeForSecondThoughts(context: Context): Promise<void> {
  const [from, to] = context.args.map((arg) => quote(Buffer.from(arg)));
  context.warn(
    `Warning: Keys between ${from} and ${to} will be deleted. Please interrupt the command within next ${SECOND_THOUGHTS_MS / 1000} seconds to cancel. ` +
      'You can provide `--range` flag to avoid the delay.',
  );
  await new Promise((resolve) => setTimeout(resolve, SECOND_THOUGHTS_MS));
}

const del: Command = {
  name: 'del',
  summary: 'Remove a key or a range of keys',
  usage: 'KEY [RANGE_END]',
  group: GROUP,
  description: 'Prints how many keys were removed.',
  examples: [
    ['One key', 'del foo'],
    ['All keys that begin with "app/"', 'del app/ --prefix'],
    ['And print what they were', 'del app/ --prefix --prev-kv'],
  ],
  flags: DEL_FLAGS,
  async run(context) {
    const { args, flags } = context;
    const request = deleteRequest(args, flags);
    const client = await context.client();
    const isUnmarkedRange = args.length > 1 && !flags.flag('range');
    if (isUnmarkedRange && context.style.compat === '3.6') await timeForSecondThoughts(context);
    const response = await client.kv.delete(request, { ...context.short, prevKv: request.prevKv });
    context.print(deleteView(response, context.style));
    if (isUnmarkedRange && context.style.compat === '3.5') {
      context.warn(
        'In etcd v3.6, the operation will be suspended for a few seconds to provide the user time to verify range.',
      );
    }
  },
};

// ── compaction ──────────────────────────────────────────────────────────────────────────────────────────────────────

const compaction: Command = {
  name: 'compaction',
  summary: 'Forget the history before a revision',
  usage: 'REVISION',
  group: 'Cluster maintenance',
  examples: [
    ['Forget everything before revision 1234', 'compaction 1234'],
    ['And wait until the space is free', 'compaction --physical 1234'],
  ],
  flags: [flag('physical', 'bool', 'false', 'wait until the space is free')],
  async run(context) {
    if (context.args.length !== 1) {
      throw badArguments('compaction command needs 1 argument', 'write: compaction REVISION');
    }
    const revision = parseInteger(context.args[0] as string);
    if (typeof revision === 'string') throw new Failure(ExitCode.ERROR, revision, 'write: compaction REVISION');
    const client = await context.client();
    const physical = context.flags.flag('physical');
    // Waiting for the disk takes as long as it takes.
    const options = physical ? { timeoutMs: 0, physical } : { ...context.short, physical };
    context.print(compactionView(await client.kv.compact(revision, options), revision));
  },
};

export const KV_COMMANDS = [get, put, del] as const;
export const COMPACTION_COMMAND = compaction;
