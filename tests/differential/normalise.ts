import { isDeepStrictEqual } from 'node:util';
import type { Message, Outcome } from '../support/client.ts';

/** What two servers may answer differently, taken out of the answers before they are compared. */

/** Ids and terms belong to a cluster; a zero stays, since inner headers must have it. */
function maskHeader(message: Message): void {
  const header = message['header'] as Message | null | undefined;
  if (header === null || header === undefined) return;
  for (const field of ['cluster_id', 'member_id', 'raft_term']) {
    if (header[field] !== '0') header[field] = '*';
  }
}

const SORT_FIELDS: Record<string, string> = {
  VERSION: 'version',
  CREATE: 'create_revision',
  MOD: 'mod_revision',
  VALUE: 'value',
};

function asText(part: unknown): string {
  return Buffer.isBuffer(part) ? part.toString('latin1') : String(part);
}

/**
 * etcd sorts with an unstable algorithm, so the order among equal values is nobody's promise. Ties are put in the order
 * of their keys; the last ones, where a limit may have cut the group anywhere, keep only their number and value.
 */
function settleTies(request: Message, response: Message): void {
  const field = SORT_FIELDS[String(request['sort_target'])];
  if (field === undefined) return;
  const kvs = response['kvs'] as Message[];
  const groups: Message[][] = [];
  for (const kv of kvs) {
    const last = groups.at(-1);
    if (last !== undefined && asText(last[0]?.[field]) === asText(kv[field])) last.push(kv);
    else groups.push([kv]);
  }
  for (const group of groups) group.sort((a, b) => (asText(a['key']) < asText(b['key']) ? -1 : 1));
  const cut = groups.at(-1);
  if (response['more'] === true && cut !== undefined) {
    groups[groups.length - 1] = cut.map((kv) => ({ tie: asText(kv[field]) }));
  }
  response['kvs'] = groups.flat();
}

function settleTxn(request: Message, response: Message): void {
  const branch = (response['succeeded'] === true ? request['success'] : request['failure']) as Message[] | undefined;
  const responses = response['responses'] as Message[];
  for (const [index, item] of responses.entries()) {
    const asked = branch?.[index] ?? {};
    const answer = item[String(item['response'])] as Message | undefined;
    if (answer === undefined) continue;
    maskHeader(answer);
    if (item['response'] === 'response_range') settleTies(asked['request_range'] as Message, answer);
    if (item['response'] === 'response_txn') settleTxn(asked['request_txn'] as Message, answer);
  }
}

function settleResponse(method: string, request: Message, response: Message): void {
  maskHeader(response);
  if (method === 'KV/Range') settleTies(request, response);
  if (method === 'KV/Txn') settleTxn(request, response);
  // The field came with 3.6; an older server does not know it.
  if (method === 'Maintenance/HashKV') delete response['hash_revision'];
  // Ordered by remaining time, in which the two servers differ by milliseconds.
  if (method === 'Lease/LeaseLeases')
    (response['leases'] as Message[]).sort((a, b) => (asText(a['ID']) < asText(b['ID']) ? -1 : 1));
  // Attached keys come in the order of a hash table.
  if (method === 'Lease/LeaseTimeToLive') (response['keys'] as Buffer[]).sort(Buffer.compare);
}

/** Whole seconds that may have ticked over on one side only. */
export function nearTime(left: unknown, right: unknown, slack: number): boolean {
  const a = Number(left);
  const b = Number(right);
  return a > 0 && b > 0 && Math.abs(a - b) <= slack;
}

/** What the two answers to one call still differ in, or null. `timeSlack`: seconds by which remaining times may differ. */
export function compareOutcomes(
  method: string,
  request: Message,
  left: Outcome,
  right: Outcome,
  timeSlack: number,
): string | null {
  if (left.code !== right.code || left.message !== right.message) {
    return isIntended(left, right) ? null : 'status';
  }
  if (left.response === null || right.response === null) return null;
  settleResponse(method, request, left.response);
  settleResponse(method, request, right.response);
  if (method === 'Lease/LeaseTimeToLive' && nearTime(left.response['TTL'], right.response['TTL'], timeSlack)) {
    right.response['TTL'] = left.response['TTL'];
  }
  return isDeepStrictEqual(left.response, right.response) ? null : 'response';
}

/** Differences of later minor versions which a server that calls itself newer is right to show. */
function isIntended(left: Outcome, right: Outcome): boolean {
  const one = [left, right].find((outcome) => outcome.message === 'etcdserver: invalid sort option');
  return one !== undefined && one.code === 3;
}

/** A watch response or event without what belongs to the cluster. */
export function maskWatchResponse(response: Message): Message {
  maskHeader(response);
  return response;
}
