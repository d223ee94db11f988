import type { Client, Message, Outcome, Stream } from '../support/client.ts';

/** Calls in the form in which the store of Kubernetes' API server makes them. */

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** First key behind all that begin with this. Kubernetes' prefixes end with `/`, so the last byte can be raised. */
export function prefixEnd(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** The key at which the next page begins. */
export const behind = (key: string): string => `${key}\0`;

const isAt = (key: string, modRevision: string): Message => ({
  key: bytes(key),
  target: 'MOD',
  result: 'EQUAL',
  mod_revision: modRevision,
});

export interface ListOptions {
  readonly limit?: number;
  readonly revision?: string;
  /** Where the page begins; the prefix by default. */
  readonly from?: string;
}

export class Registry {
  readonly client: Client;

  constructor(client: Client) {
    this.client = client;
  }

  private txn(compare: Message[], success: Message[], failure: Message[]): Promise<Outcome> {
    return this.client.call('KV/Txn', { compare, success, failure });
  }

  /** Made only where nothing is; who comes second is told without the value. */
  create(key: string, value: string | Buffer, lease = '0'): Promise<Outcome> {
    return this.txn([isAt(key, '0')], [{ request_put: { key: bytes(key), value: Buffer.from(value), lease } }], []);
  }

  /** Written only over the revision that was read; who comes too late gets what is there. */
  update(key: string, modRevision: string, value: string, lease = '0'): Promise<Outcome> {
    const put = { request_put: { key: bytes(key), value: Buffer.from(value), lease } };
    return this.txn([isAt(key, modRevision)], [put], [{ request_range: { key: bytes(key) } }]);
  }

  remove(key: string, modRevision: string): Promise<Outcome> {
    const drop = { request_delete_range: { key: bytes(key) } };
    return this.txn([isAt(key, modRevision)], [drop], [{ request_range: { key: bytes(key) } }]);
  }

  get(key: string, revision = '0'): Promise<Outcome> {
    return this.client.call('KV/Range', { key: bytes(key), revision });
  }

  list(prefix: string, { limit = 0, revision = '0', from = prefix }: ListOptions = {}): Promise<Outcome> {
    const range_end = bytes(prefixEnd(prefix));
    return this.client.call('KV/Range', { key: bytes(from), range_end, limit: String(limit), revision });
  }

  count(prefix: string): Promise<Outcome> {
    return this.client.call('KV/Range', { key: bytes(prefix), range_end: bytes(prefixEnd(prefix)), count_only: true });
  }

  /** What the API servers agree by who compacts: a key whose version counts the rounds. */
  compactRound(version: string, revision: string): Promise<Outcome> {
    const key = bytes('compact_rev_key');
    return this.txn(
      [{ key, target: 'VERSION', result: 'EQUAL', version }],
      [{ request_put: { key, value: Buffer.from(revision) } }],
      [{ request_range: { key } }],
    );
  }

  compact(revision: string): Promise<Outcome> {
    return this.client.call('KV/Compact', { revision });
  }

  /** A lease for events, shared by all that end at about the same time. */
  grant(id: string, seconds: number): Promise<Outcome> {
    return this.client.call('Lease/LeaseGrant', { ID: id, TTL: String(seconds) });
  }

  watch(prefix: string, startRevision: string): Stream {
    const stream = this.client.stream('Watch/Watch');
    const create_request = {
      key: bytes(prefix),
      range_end: bytes(prefixEnd(prefix)),
      start_revision: startRevision,
      prev_kv: true,
      progress_notify: true,
    };
    stream.send({ create_request });
    return stream;
  }
}

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly version: string;
}

export interface WatchEvent {
  readonly type: 'PUT' | 'DELETE';
  readonly kv: KeyValue;
  readonly prev_kv: KeyValue | null;
}

export interface Page {
  readonly kvs: readonly KeyValue[];
  readonly count: string;
  readonly more: boolean;
  readonly header: { readonly revision: string };
}

/** The page of an answer; an error is thrown. */
export function pageOf({ response, code, message }: Outcome): Page {
  if (response === null) throw new Error(`status ${code} ${message}`);
  return response as unknown as Page;
}

/** The revision at which a transaction was applied, and whether it was its condition that held. */
export function txnOf({ response, code, message }: Outcome): { succeeded: boolean; revision: string } {
  if (response === null) throw new Error(`status ${code} ${message}`);
  const { succeeded, header } = response as unknown as { succeeded: boolean; header: { revision: string } };
  return { succeeded, revision: header.revision };
}

/** All pages of a prefix at the revision of the first; `each` is called between two of them. */
export async function pages(
  registry: Registry,
  prefix: string,
  limit: number,
  each: (page: Page, seen: number) => Promise<void> | void,
): Promise<KeyValue[]> {
  const all: KeyValue[] = [];
  let from = prefix;
  let revision = '0';
  for (;;) {
    const page = pageOf(await registry.list(prefix, { limit, revision, from }));
    if (revision === '0') revision = page.header.revision;
    all.push(...page.kvs);
    await each(page, all.length);
    if (!page.more) return all;
    from = behind((page.kvs.at(-1) as KeyValue).key.toString('latin1'));
  }
}
