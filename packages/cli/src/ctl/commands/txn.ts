import { Compare, CompareResult, CompareTarget, RequestOp, TxnRequest } from '@etsd/proto';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { flag, parseFlags } from '../flags.ts';
import { parseHexId, parseInteger, quote, unquote } from '../go.ts';
import { LineReader } from '../terminal.ts';
import { txnView } from '../views/kv.ts';
import { DEL_FLAGS, deleteRequest, GET_FLAGS, getRequest, PUT_FLAGS, putRequest } from './kv.ts';

function invalid(message: string, hint = ''): Failure {
  return new Failure(ExitCode.INVALID_INPUT, message, hint);
}

const FORM = 'a comparison looks like this, numbers in quotes too: mod("key") > "0"';

// ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────────────

const RESULTS: Record<string, number> = {
  '=': CompareResult.EQUAL,
  '!=': CompareResult.NOT_EQUAL,
  '<': CompareResult.LESS,
  '>': CompareResult.GREATER,
};

/** `target("key") op "value"`. */
export function parseComparison(line: string): Compare {
  const open = line.indexOf('(');
  if (open < 0) throw invalid(`malformed comparison: ${line}`, FORM);
  const target = line.slice(0, open);
  const { key, op, value } = operandsOf(line.slice(open + 1));
  if (value === null) {
    const got = `${target}(${quote(key ?? Buffer.alloc(0))}) ${op} ""`;
    throw invalid(`malformed comparison: ${line}; got ${got}`, FORM);
  }
  const comparison = comparisonOf(target, value);
  if (comparison === null) throw invalid(`malformed comparison: ${line} (unknown target ${target})`, FORM);
  if (typeof comparison === 'string') throw invalid(`invalid txn compare request: ${line}`, FORM);
  const result = RESULTS[op];
  if (result === undefined) throw new Failure(2, `Unknown result op ${op}`, 'it is one of =, !=, <, >');
  return Compare.create({ key: key as Buffer, result: result as Compare['result'], ...comparison });
}

const QUOTED = /^\s*("(?:[^"\\]|\\.)*")/;

/** As far as the line can be read; what cannot is null or empty. */
function operandsOf(text: string): { key: Buffer | null; op: string; value: Buffer | null } {
  const nothing = { key: null, op: '', value: null };
  const first = QUOTED.exec(text);
  const key = first === null ? null : unquote(first[1] as string);
  if (first === null || key === null) return nothing;
  const middle = /^\)\s*(\S+)\s*/.exec(text.slice(first[0].length));
  if (middle === null) return { ...nothing, key };
  const op = middle[1] as string;
  const last = QUOTED.exec(text.slice(first[0].length + middle[0].length));
  return { key, op, value: last === null ? null : unquote(last[1] as string) };
}

/** Null for an unknown target, text for a value that does not fit it. */
function comparisonOf(target: string, value: Buffer): Partial<Compare> | string | null {
  const text = value.toString('utf8');
  const number = parseInteger(text);
  switch (target) {
    case 'ver':
    case 'version':
      return typeof number === 'string' ? number : { target: CompareTarget.VERSION, version: number };
    case 'c':
    case 'create':
      return typeof number === 'string' ? number : { target: CompareTarget.CREATE, createRevision: number };
    case 'm':
    case 'mod':
      return typeof number === 'string' ? number : { target: CompareTarget.MOD, modRevision: number };
    case 'val':
    case 'value':
      return { target: CompareTarget.VALUE, value };
    case 'lease': {
      const lease = parseHexId(text, 'ParseInt');
      return 'problem' in lease ? lease.problem : { target: CompareTarget.LEASE, lease: lease.id };
    }
    default:
      return null;
  }
}

// ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Words of a line; double quotes hold a string of Go, single ones hold text as it is. */
export function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/"(?:[^"\\]|\\.)*"|'[^']*'|[^'"\s]\S*[^'"\s]?/g)) {
    if (word.startsWith("'")) words.push(word.slice(1, -1));
    else if (word.startsWith('"')) words.push(unquote(word)?.toString('utf8') ?? word);
    else words.push(word);
  }
  return words;
}

async function parseOperation(line: string): Promise<RequestOp> {
  const [name, ...words] = wordsOf(line);
  const problem = (): Failure =>
    invalid(`invalid txn request: ${line}`, 'an operation is get, put or del, as on the command line');
  if (words.length === 0) throw problem();
  const flags = { put: PUT_FLAGS, get: GET_FLAGS, del: DEL_FLAGS }[name as string];
  if (flags === undefined) throw problem();
  let parsed: ReturnType<typeof parseFlags>;
  try {
    parsed = parseFlags(words, flags);
  } catch {
    throw problem();
  }
  const { args, values } = parsed;
  if (name === 'put') return RequestOp.create({ requestPut: await putRequest(args, values, null) });
  if (name === 'get') return RequestOp.create({ requestRange: getRequest(args, values) });
  return RequestOp.create({ requestDeleteRange: deleteRequest(args, values) });
}

async function readSection(reader: LineReader): Promise<string[]> {
  const lines: string[] = [];
  for (;;) {
    const line = await reader.next();
    if (line === null) throw invalid('EOF', 'every section ends with an empty line');
    const text = line.trim();
    if (text === '') return lines;
    lines.push(text);
  }
}

async function readTransaction(context: Context): Promise<TxnRequest> {
  const reader = new LineReader(context.surroundings.stdin);
  const prompt = (text: string): void => {
    if (context.flags.flag('interactive')) context.line(text);
  };
  const request = TxnRequest.create();
  prompt('compares:');
  for (const line of await readSection(reader)) request.compare.push(parseComparison(line));
  prompt('success requests (get, put, del):');
  for (const line of await readSection(reader)) request.success.push(await parseOperation(line));
  prompt('failure requests (get, put, del):');
  for (const line of await readSection(reader)) request.failure.push(await parseOperation(line));
  return request;
}

export const TXN_COMMAND: Command = {
  name: 'txn',
  summary: 'Compare keys and, as one step, do one thing or another',
  group: 'Keys and values',
  description: [
    'Reads three sections from the standard input, each ended by an empty line: comparisons, what to do if all of them',
    'hold, and what to do otherwise.',
    '',
    '  comparison  TARGET("KEY") OP "VALUE"   TARGET: version, create, mod, value or lease; OP: = != < >',
    '  operation   get, put or del with the flags they have on the command line',
  ].join('\n'),
  examples: [
    ['Typed in', 'txn -i'],
    ['Create a key only if it is missing', `txn <<'END'\n  create("foo") = "0"\n\n  put foo bar\n\n  get foo\n\n  END`],
  ],
  flags: [flag('interactive', 'bool', 'false', 'prompt for each section', 'i')],
  async run(context) {
    if (context.args.length > 0) {
      throw badArguments('txn command does not accept argument', 'the transaction is read from the standard input');
    }
    const request = await readTransaction(context);
    const client = await context.client();
    context.print(txnView(await client.kv.txnRaw(request, context.short), context.style));
  },
};
