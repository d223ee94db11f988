/** The same requests to both products; what belongs to one cluster or one moment is masked, the rest must be equal. */
import { type Answered, ask } from '../gateway/http.ts';
import { nameOf, type Step } from './requests.ts';

export interface Difference {
  readonly asked: string;
  readonly left: string;
  readonly right: string;
}

/** Headers that say something to a client. */
const HEADERS = [
  'content-type',
  'x-etcd-index',
  'access-control-allow-origin',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'allow',
  'location',
  'x-content-type-options',
];
/** Those of which only is compared whether they are there: logs differ in what members write into them by themselves. */
const PRESENT = ['x-etcd-cluster-id', 'x-raft-index', 'x-raft-term', 'content-length'];

const MASKS: readonly (readonly [RegExp, string])[] = [
  [/127\.0\.0\.1:\d+/g, '127.0.0.1:-'],
  [/"(expiration|startTime|uptime)":"[^"]*"/g, '"$1":"-"'],
  [/"(id|leader)":"[0-9a-f]+"/g, '"$1":"-"'],
];

function shown({ status, headers, body }: Answered): string {
  const lines = [String(status)];
  for (const name of HEADERS) if (headers[name] !== undefined) lines.push(`${name}: ${headers[name]}`);
  // Of what is long a server may not tell the length beforehand.
  for (const name of PRESENT) if (headers[name] !== undefined && body.length < 2048) lines.push(name);
  let text = body;
  for (const [pattern, replacement] of MASKS) text = text.replace(pattern, replacement);
  // A second may end between the two servers' turns.
  text = text.replace(/"ttl":(\d+)/g, (_, seconds: string) => `"ttl":${Math.round(Number(seconds) / 10) * 10}`);
  return `${lines.join('\n')}\n\n${text}`;
}

async function answerOf(port: number, step: Step): Promise<string> {
  const answer = await ask(port, step).catch((error: Error) => error);
  return answer instanceof Error ? answer.message : shown(answer);
}

/** Asks both servers at once, one request after the other. */
export async function compare(all: readonly Step[], leftPort: number, rightPort: number): Promise<Difference[]> {
  const differences: Difference[] = [];
  for (const step of all) {
    const [left, right] = await Promise.all([answerOf(leftPort, step), answerOf(rightPort, step)]);
    if (left !== right) differences.push({ asked: nameOf(step), left, right });
  }
  return differences;
}
