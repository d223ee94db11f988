/** `/api/usage`: who uses what. `/api/log-level`: which lines are written. Both are root's where there are users. */
import { type Busy, LogLevelRequest, UsageRequest } from '@etsd/proto';
import { call } from './local-call.ts';
import { LOG_LEVEL, USAGE } from './methods.ts';
import { badRequest } from './problem.ts';
import { allowMembers, jsonBody, type Question } from './question.ts';

/** `GET /api/usage`: space by prefix, and the busiest keys, users and addresses of the last minutes. */
export async function readUsage(question: Question): Promise<void> {
  question.query.allow('limit');
  const limit = question.query.number('limit', 20, 1, 1000);
  const usage = await call(question.caller, USAGE, UsageRequest.create({ limit }));
  const busy = (list: readonly Busy[]): object[] =>
    list.map(({ name, reads, writes, bytes }) => ({ name, reads, writes, bytes }));
  question.json(200, {
    member: usage.memberId.replace(/^0+/, ''),
    name: usage.name,
    leader: usage.isLeader,
    revision: usage.revision,
    used_bytes: usage.usedBytes,
    quota_bytes: usage.quotaBytes,
    keys: usage.keys,
    bytes: usage.bytes,
    counting: usage.isCounting,
    prefixes: usage.prefixes.map(({ prefix, keys, bytes }) => ({ prefix, keys, bytes })),
    busy: {
      seconds: usage.windowMs / 1000,
      requests: usage.requests,
      keys: busy(usage.busyKeys),
      users: busy(usage.busyUsers),
      peers: busy(usage.busyPeers),
    },
  });
}

export function readLevel(question: Question): Promise<void> {
  return changedLevel(question, '');
}

/** `PUT /api/log-level` with `{"level": "debug"}`. */
export function writeLevel(question: Question): Promise<void> {
  const body = jsonBody(question);
  allowMembers(body, 'a level', 'level');
  const { level } = body;
  if (typeof level !== 'string' || level === '') throw badRequest('give the level, for example {"level": "debug"}');
  return changedLevel(question, level);
}

async function changedLevel(question: Question, level: string): Promise<void> {
  question.query.allow();
  const answer = await call(question.caller, LOG_LEVEL, LogLevelRequest.create({ level }));
  question.json(200, { level: answer.level }, ['Cache-Control', 'no-store']);
}
