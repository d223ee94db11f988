import type { Compare, KeyRecord, KvOperation, Outcome, Step, StepResult } from '@etsd/simulator/checkers';
import type { Outcome as Answer, Client, Message } from '../support/client.ts';
import type { TestServer } from '../support/server.ts';
import { type Identity, STRANGER } from './identity.ts';

/** Milliseconds of the one clock that all times of a history are told by. */
export function now(): number {
  return performance.now();
}

/** What a client wants done; a put, delete or range alone is one step without a condition. */
export interface Wish {
  readonly serializable: boolean;
  readonly compares: readonly Compare[];
  readonly success: readonly Step[];
  readonly failure: readonly Step[];
}

const UNAVAILABLE = 14;
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Errors after which nothing has happened and nothing will. Whatever else comes says nothing. */
const REFUSALS = [
  /requested lease not found/,
  /too many requests/,
  /required revision has been compacted/,
  /required revision is a future revision/,
  /duplicate key given/,
  /lease already exists/,
];

export function outcomeOf(code: number, message: string): Outcome {
  if (code === 0) return 'ok';
  return REFUSALS.some((refusal) => refusal.test(message)) ? 'failed' : 'unknown';
}

/** Sends what is wished to one member and notes what came back. */
export async function callKv(
  client: Client,
  server: TestServer,
  number: number,
  wish: Wish,
  { deadlineMs, identity }: { deadlineMs: number; identity: Identity },
): Promise<KvOperation> {
  const { run, isReady } = server;
  const start = now();
  const answer = await send(client, wish, deadlineMs);
  const end = now();
  const { code, message, response } = ownAnswer(answer, server, isReady, identity);
  const header = (response?.['header'] ?? null) as Message | null;
  const succeeded = response !== null && (isPlain(wish) || response['succeeded'] === true);
  const steps = succeeded ? wish.success : wish.failure;
  return {
    type: 'kv',
    client: number,
    member: server.membership.name,
    // An answer that came while the process changed may be of either: it gets a number of its own.
    run: run === server.run ? run : -Math.floor(start * 1000),
    start,
    end,
    ...wish,
    outcome: outcomeOf(code, message),
    error: message,
    revision: Number(header?.['revision'] ?? 0),
    term: Number(header?.['raft_term'] ?? 0),
    succeeded,
    results: response === null ? [] : resultsOf(wish, steps, response),
  };
}

/** The answer, or none where somebody else gave it. */
export function ownAnswer(answer: Answer, server: TestServer, wasReady: boolean, identity: Identity): Answer {
  if (answer.response === null || identity.isOurs(server, wasReady, answer.response)) return answer;
  return { code: UNAVAILABLE, message: STRANGER, response: null };
}

function isPlain(wish: Wish): boolean {
  return wish.compares.length === 0 && wish.success.length === 1 && wish.failure.length === 0;
}

function send(client: Client, wish: Wish, deadlineMs: number) {
  if (isPlain(wish)) {
    const [step] = wish.success as [Step];
    const [[field, request]] = Object.entries(stepRequest(step, wish.serializable)) as [[string, Message]];
    const method = { request_put: 'KV/Put', request_delete_range: 'KV/DeleteRange', request_range: 'KV/Range' }[field];
    return client.call(method as string, request, deadlineMs);
  }
  const request = {
    compare: wish.compares.map(compareRequest),
    success: wish.success.map((step) => stepRequest(step, false)),
    failure: wish.failure.map((step) => stepRequest(step, false)),
  };
  return client.call('KV/Txn', request, deadlineMs);
}

function stepRequest(step: Step, serializable: boolean): Message {
  const key = bytes(step.key);
  if (step.do === 'put') return { request_put: { key, value: bytes(step.value), lease: step.lease } };
  const range_end = bytes(step.end);
  if (step.do === 'delete') return { request_delete_range: { key, range_end } };
  return {
    request_range: { key, range_end, revision: String(step.revision), limit: String(step.limit), serializable },
  };
}

const TARGETS = { value: 'VALUE', mod: 'MOD', create: 'CREATE', version: 'VERSION' } as const;
const OPERANDS = { value: 'value', mod: 'mod_revision', create: 'create_revision', version: 'version' } as const;
const RESULTS = { '=': 'EQUAL', '!=': 'NOT_EQUAL', '>': 'GREATER', '<': 'LESS' } as const;

function compareRequest({ key, target, result, operand }: Compare): Message {
  return {
    key: bytes(key),
    target: TARGETS[target],
    result: RESULTS[result],
    [OPERANDS[target]]: typeof operand === 'string' ? bytes(operand) : String(operand),
  };
}

function resultsOf(wish: Wish, steps: readonly Step[], response: Message): StepResult[] {
  if (isPlain(wish)) return [resultOf(response)];
  const responses = response['responses'] as Message[];
  return steps.map((_step, index) => {
    const one = responses[index] ?? {};
    return resultOf((one['response_range'] ?? one['response_delete_range'] ?? {}) as Message);
  });
}

function resultOf(response: Message): StepResult {
  return {
    kvs: ((response['kvs'] ?? []) as Message[]).map(keyRecord),
    count: Number(response['count'] ?? 0),
    deleted: Number(response['deleted'] ?? 0),
  };
}

/** A `KeyValue` of the protocol as histories have it. */
export function keyRecord(kv: Message): KeyRecord {
  return {
    key: (kv['key'] as Buffer).toString('latin1'),
    value: (kv['value'] as Buffer).toString('latin1'),
    create: Number(kv['create_revision']),
    mod: Number(kv['mod_revision']),
    version: Number(kv['version']),
    lease: kv['lease'] as string,
  };
}
