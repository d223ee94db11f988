/** A morning of an API server: every kind of call it makes, and what can come of each. */
import type { Client, Message, Outcome } from '../support/client.ts';
import { behind, pageOf, Registry, txnOf, type WatchEvent } from './registry.ts';

const PATIENCE_MS = 30_000;
const PODS = '/registry/pods/default/';
const EVENTS = '/registry/events/default/';
const LEASE = '7587866109871235000';
/** Largest request that is taken by default, and what the API server allows for an object. */
const REQUEST_BYTES_MAX = 1.5 * 1024 * 1024;

const pod = (index: number): string => `${PODS}web-${String(index).padStart(3, '0')}`;

/** Ids and terms belong to a cluster; sizes to an engine. */
function masked(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.length > 100 ? `${value.length} bytes` : value.toString('latin1');
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value as Message)
      .filter(([name]) => !/^(?:cluster_id|member_id|raft_term)$/.test(name))
      .map(([name, part]) => [name, masked(part)]),
  );
}

/** What was done, and what came of it, a line each. */
export class Transcript {
  readonly lines: string[] = [];

  note(what: string, outcome: unknown): void {
    this.lines.push(`${what}: ${JSON.stringify(masked(outcome))}`);
  }
}

export async function morning(client: Client): Promise<string[]> {
  const transcript = new Transcript();
  const registry = new Registry(client);
  const note = async (what: string, call: Promise<Outcome>): Promise<Outcome> => {
    const outcome = await call;
    transcript.note(what, outcome);
    return outcome;
  };
  await beginning(client, registry, note, transcript);
  await objects(registry, note);
  await paging(registry, note);
  await watching(registry, note, transcript);
  await events(client, registry, note);
  await compaction(registry, note, transcript);
  await large(registry, note);
  return transcript.lines;
}

type Note = (what: string, call: Promise<Outcome>) => Promise<Outcome>;

/** What it may ask of this server, and whether the server is well. */
async function beginning(client: Client, registry: Registry, note: Note, transcript: Transcript): Promise<void> {
  const { version } = await client.expect('Maintenance/Status', {});
  transcript.note('version', version);
  await note('health', registry.get('/registry/health'));
  await note(
    'members',
    client.call('Cluster/MemberList', {}).then((outcome) => ({ ...outcome, response: null })),
  );
}

async function objects(registry: Registry, note: Note): Promise<void> {
  const key = `${PODS}first`;
  const { revision } = txnOf(await note('create', registry.create(key, 'a')));
  await note('create again', registry.create(key, 'b'));
  await note('get', registry.get(key));
  const second = txnOf(await note('update', registry.update(key, revision, 'c'))).revision;
  await note('stale update', registry.update(key, revision, 'd'));
  await note('update of nothing', registry.update(`${PODS}none`, revision, 'e'));
  await note('stale delete', registry.remove(key, revision));
  await note('delete', registry.remove(key, second));
  await note('delete of nothing', registry.remove(key, second));
  await note('get of nothing', registry.get(key));
  await note('get as it was', registry.get(key, revision));
  await note('create after delete', registry.create(key, 'f'));
  await note('from the future', registry.list(PODS, { revision: '1000000' }));
}

async function paging(registry: Registry, note: Note): Promise<void> {
  for (let index = 0; index < 25; index++) await registry.create(pod(index), `spec ${index}`);
  await note('count', registry.count(PODS));
  const first = pageOf(await note('page 1', registry.list(PODS, { limit: 10 })));
  const { revision } = first.header;
  await registry.create(pod(30), 'later');
  const [victim] = pageOf(await registry.get(pod(20))).kvs;
  await note('delete between pages', registry.remove(pod(20), victim?.mod_revision ?? ''));
  const from = behind(first.kvs.at(-1)?.key.toString('latin1') ?? '');
  const second = pageOf(await note('page 2', registry.list(PODS, { limit: 10, revision, from })));
  const last = behind(second.kvs.at(-1)?.key.toString('latin1') ?? '');
  await note('page 3', registry.list(PODS, { limit: 10, revision, from: last }));
  await note('page 3 as it is now', registry.list(PODS, { limit: 10, from: last }));
  await note('all of it', registry.list(PODS));
  await note('exactly as many as there are', registry.list(PODS, { limit: 26 }));
  await note('one key', registry.list(PODS, { limit: 1 }));
  await note('beside the prefix', registry.list('/registry/podtemplates/', { limit: 10 }));
}

async function watching(registry: Registry, note: Note, transcript: Transcript): Promise<void> {
  const { header } = pageOf(await registry.count(PODS));
  const start = String(Number(header.revision) + 1);
  const stream = registry.watch(PODS, start);
  const kinds = (): Message[] => stream.received.filter(({ events }) => (events as unknown[]).length === 0);
  const seen = (): WatchEvent[] => stream.received.flatMap(({ events }) => events as WatchEvent[]);
  await stream.until(PATIENCE_MS, 'the watch', () => stream.received.length > 0);
  const key = pod(0);
  const [before] = pageOf(await registry.get(key)).kvs;
  const { revision } = txnOf(await note('watched update', registry.update(key, before?.mod_revision ?? '', 'new')));
  await note('watched delete', registry.remove(key, revision));
  await note('watched create', registry.create(key, 'once more'));
  await note('not watched', registry.create('/registry/services/a', 'b'));
  await stream.until(PATIENCE_MS, 'three events', () => seen().length >= 3);
  const { header: now } = pageOf(await registry.count(PODS));
  stream.send({ progress_request: {} });
  await stream.until(PATIENCE_MS, 'progress', () => kinds().length >= 2);
  transcript.note('events', seen());
  const [created, progress] = kinds();
  transcript.note('created', created);
  // A progress notice tells the revision of the store, so that a cache knows that it is up to date.
  transcript.note('progress', {
    ...progress,
    isNow: (progress?.['header'] as Message | undefined)?.['revision'] === now.revision,
  });
  const late = registry.watch(PODS, header.revision);
  await late.until(
    PATIENCE_MS,
    'history',
    () => late.received.flatMap(({ events }) => events as unknown[]).length >= 3,
  );
  transcript.note(
    'history',
    late.received.flatMap(({ events }) => events as unknown[]),
  );
  stream.cancel();
  late.cancel();
}

/** Events live for an hour; many share a lease. */
async function events(client: Client, registry: Registry, note: Note): Promise<void> {
  await note('grant', registry.grant(LEASE, 3660));
  await note('grant again', registry.grant(LEASE, 3660));
  await note('event', registry.create(`${EVENTS}a`, '1', LEASE));
  const [event] = pageOf(await note('its lease', registry.get(`${EVENTS}a`))).kvs;
  await note('event on the same lease', registry.create(`${EVENTS}b`, '2', LEASE));
  await note('event updated', registry.update(`${EVENTS}a`, event?.mod_revision ?? '', '3', LEASE));
  await note('no such lease', registry.create(`${EVENTS}c`, '4', '12345'));
  await note('keys', client.call('Lease/LeaseTimeToLive', { ID: LEASE, keys: true }).then(withoutTime));
  await note('revoke', client.call('Lease/LeaseRevoke', { ID: LEASE }));
  await note('events are gone', registry.list(EVENTS));
}

/** A second may have passed. */
function withoutTime(outcome: Outcome): Outcome {
  const { TTL, keys, ...response } = outcome.response ?? {};
  const sorted = (keys as Buffer[]).map(String).sort();
  return { ...outcome, response: { ...response, keys: sorted, isFresh: Number(TTL) > 3600 } };
}

async function compaction(registry: Registry, note: Note, transcript: Transcript): Promise<void> {
  const old = pageOf(await registry.list(PODS, { limit: 5 }));
  const from = behind(old.kvs.at(-1)?.key.toString('latin1') ?? '');
  for (let index = 40; index < 45; index++) await registry.create(pod(index), 'more');
  const { revision } = txnOf(await note('first round', registry.compactRound('0', old.header.revision)));
  await note('another server comes second', registry.compactRound('0', old.header.revision));
  await note('next round', registry.compactRound('1', revision));
  await note('compact', registry.compact(revision));
  await note('compact again', registry.compact(revision));
  await note('compact the future', registry.compact('1000000'));
  await note('a page that is too old', registry.list(PODS, { limit: 5, revision: old.header.revision, from }));
  await note('the rest as it is now', registry.list(PODS, { limit: 5, from }));
  await note('at the revision itself', registry.list(PODS, { limit: 2, revision }));
  const stream = registry.watch(PODS, old.header.revision);
  await stream.until(PATIENCE_MS, 'the end of the watch', () =>
    stream.received.some(({ canceled }) => canceled === true),
  );
  transcript.note('a watch that is too old', stream.received);
  stream.cancel();
}

async function large(registry: Registry, note: Note): Promise<void> {
  const key = '/registry/configmaps/default/large';
  await note('a mebibyte', registry.create(key, Buffer.alloc(1024 * 1024, 120)));
  await note('its value', registry.get(key));
  await note('too large', registry.create(`${key}r`, Buffer.alloc(REQUEST_BYTES_MAX, 120)));
  await note('far too large', registry.create(`${key}st`, Buffer.alloc(4 * 1024 * 1024, 120)));
}
