/** The same requests to both products; what belongs to one cluster or one moment is masked, the rest must be equal. */
import { type Answered, ask } from './http.ts';
import type { Step } from './requests.ts';

export interface Difference {
  readonly asked: string;
  readonly left: string;
  readonly right: string;
}

export interface Comparison {
  /** Requests that were sent to both. */
  readonly compared: number;
  readonly differences: readonly Difference[];
}

/** Headers that say something to a client. */
const HEADERS = [
  'content-type',
  'grpc-metadata-content-type',
  'access-control-allow-origin',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'allow',
  'location',
  'www-authenticate',
  'x-content-type-options',
];

const MASKS: readonly (readonly [RegExp, string])[] = [
  [/"(cluster_id|member_id|leader|memberID)":"\d+"/g, '"$1":"-"'],
  [/"(raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)":"\d+"/g, '"$1":"-"'],
  [/"(ID|lease)":"\d{10,}"/g, '"$1":"-"'],
  [/("members":\[\{"ID":")\d+/g, '$1-'],
  [/127\.0\.0\.1:\d+/g, '127.0.0.1:-'],
  [/"token":"[^"]*"/g, '"token":"-"'],
  [/"key":"bG9j[^"]{10,}"/g, '"key":"-"'],
];

/** What a client may see of an answer. */
function shown(step: Step, { status, headers, body }: Answered): string {
  const lines = [String(status)];
  for (const name of HEADERS) if (headers[name] !== undefined) lines.push(`${name}: ${headers[name]}`);
  // Of a length only whether there is one, since what is masked may be of any; of a long answer not even that.
  // A page of figures; and the text about host names, which is in our own words.
  if (step.path === '/metrics' || status === 421) return lines.join('\n');
  if (body.length < 2048) lines.push(headers['content-length'] !== undefined ? 'whole' : 'in chunks');
  let text = step.path === '/v3/maintenance/hash' ? body.replace(/"hash":\d+/, '"hash":-') : body;
  for (const [pattern, replacement] of MASKS) text = text.replace(pattern, replacement);
  return `${lines.join('\n')}\n\n${text}`;
}

/** Fills in what was kept of earlier answers. */
function filled(step: Step, kept: ReadonlyMap<string, string>): Step {
  const fill = (text: string): string => text.replace(/\$([A-Z]+)/g, (all, name: string) => kept.get(name) ?? all);
  const headers = Object.entries(step.headers ?? {}).map(([name, value]) => [name, fill(value)] as const);
  const body = typeof step.body === 'string' ? { body: fill(step.body) } : {};
  return { ...step, ...body, headers: Object.fromEntries(headers) };
}

function describe({ method, path, body = '', headers = {}, title }: Step): string {
  const shownBody = title ?? (body.length > 300 ? `${body.length} bytes` : String(body));
  return `${method} ${path} ${JSON.stringify(headers)} ${shownBody}`;
}

async function answerOf(port: number, step: Step, memory: Map<string, string>): Promise<string> {
  const answer = await ask(port, filled(step, memory)).catch((error: Error) => error);
  if (answer instanceof Error) return answer.message;
  if (step.keep !== undefined) memory.set(step.keep[0], step.keep[1].exec(answer.body)?.[1] ?? '');
  return shown(step, answer);
}

/** Asks both servers at once, one request after the other. */
export async function compare(all: readonly Step[], leftPort: number, rightPort: number): Promise<Comparison> {
  const differences: Difference[] = [];
  const ports = [leftPort, rightPort] as const;
  const kept = [new Map<string, string>(), new Map<string, string>()] as const;
  for (const step of all) {
    const answers = await Promise.all(
      ports.map((port, side) => answerOf(port, step, kept[side] as Map<string, string>)),
    );
    const [left, right] = answers as [string, string];
    if (left !== right) differences.push({ asked: describe(step), left, right });
  }
  return { compared: all.length, differences };
}
