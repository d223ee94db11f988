/** A few words for requests on `/v2/keys`, for tests that do not compare texts. */
import { type Answered, ask } from '../gateway/http.ts';
import { eventually } from '../support/conditions.ts';

export interface Node {
  readonly key?: string;
  readonly value?: string;
  readonly dir?: boolean;
  readonly ttl?: number;
  readonly nodes?: readonly Node[];
  readonly modifiedIndex: number;
  readonly createdIndex: number;
}

export interface Answer {
  readonly status: number;
  readonly index: number;
  readonly action?: string;
  readonly node: Node;
  readonly prevNode?: Node;
  readonly errorCode?: number;
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

/** `fields` go into the body of PUT and POST, else into the query. */
export async function v2(
  port: number,
  method: string,
  key: string,
  fields: Readonly<Record<string, string | number | boolean>> = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) form.set(name, String(value));
  const text = form.toString();
  const hasBody = method === 'PUT' || method === 'POST';
  const path = `/v2/keys${key}${hasBody || text === '' ? '' : `?${text}`}`;
  const answer: Answered = await ask(port, {
    method,
    path,
    headers: hasBody ? { ...headers, ...FORM } : headers,
    ...(hasBody ? { body: text } : {}),
  });
  const body = answer.body === '' ? {} : JSON.parse(answer.body);
  return { ...body, status: answer.status, index: Number(answer.headers['x-etcd-index']) };
}

/** All keys with their indexes, and the index of the tree; what is left of their time is not compared. */
export async function tree(port: number): Promise<string> {
  const { node, index, status } = await v2(port, 'GET', '/', { recursive: true, sorted: true });
  return `${status} ${index} ${JSON.stringify(node).replace(/,"ttl":-?\d+/g, '')}`;
}

/** Waits until all members have one tree; returns it. */
export function sameTree(ports: readonly number[]): Promise<string> {
  return eventually(30_000, 'all members have the same keys', async () => {
    const trees = await Promise.all(ports.map((port) => tree(port).catch(() => 'no answer')));
    return new Set(trees).size === 1 && trees[0]?.startsWith('200 ') === true ? (trees[0] as string) : null;
  });
}
