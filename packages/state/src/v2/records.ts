/**
 * How the tree lies in the backend, in a bucket of ours that no hash covers: one record for each node, one for each
 * remembered event, one for the index. They are written in the batch of the entry that made them.
 *
 *     index            →  <index>/<first remembered>
 *     n <id, 8 bytes>  →  {"parent":<id>,"name":…,"created":…,"modified":…,"expires":<16 hex digits>,"value":…}
 *     e <index, 8 b.>  →  the event as etcd writes it
 *
 * A node's id is larger than its parent's, so that reading them in order meets parents first.
 */
import { CorruptionError, U64_ZERO } from '@etsd/base';
import type { BackendPort } from '../ports.ts';
import { keptEventJson, type V2Event } from './event.ts';
import { eventFromJson } from './event-json.ts';
import type { V2Node } from './node.ts';
import { NEVER } from './time.ts';

export const V2_BUCKET = 'v2';
const INDEX_KEY = Buffer.from('index');
const NODES = Buffer.from('n');
const NODES_END = Buffer.from('o');
const EVENTS = Buffer.from('e');
const EVENTS_END = Buffer.from('f');

/** What is read and written of a backend. */
export type V2Backend = Pick<BackendPort, 'get' | 'put' | 'delete' | 'scan'>;

export interface NodeRecord {
  readonly id: number;
  /** 0: the root. */
  readonly parent: number;
  readonly name: string;
  readonly created: number;
  readonly modified: number;
  readonly expires: string;
  /** Null for a directory. */
  readonly value: string | null;
}

export function putNode(backend: V2Backend, node: V2Node): void {
  const { id, parent, name, created, modified, expires, isDir, value } = node;
  const place = `{"parent":${parent?.id ?? 0},"name":${JSON.stringify(name)},"created":${created},"modified":${modified}`;
  const end = expires === NEVER ? '' : `,"expires":"${expires}"`;
  const content = isDir ? '' : `,"value":${JSON.stringify(value)}`;
  backend.put(V2_BUCKET, keyOf('n', id), Buffer.from(`${place}${end}${content}}`));
}

export function deleteNode(backend: V2Backend, id: number): void {
  backend.delete(V2_BUCKET, keyOf('n', id));
}

export function putEvent(backend: V2Backend, index: number, event: V2Event): void {
  backend.put(V2_BUCKET, keyOf('e', index), Buffer.from(keptEventJson(event, '')));
}

export function deleteEvent(backend: V2Backend, index: number): void {
  backend.delete(V2_BUCKET, keyOf('e', index));
}

export function putIndex(backend: V2Backend, index: number, first: number): void {
  backend.put(V2_BUCKET, INDEX_KEY, Buffer.from(`${index}/${first}`));
}

/** Index and the first remembered; null where nothing was ever kept. */
export function readIndex(backend: Pick<V2Backend, 'get'>): { index: number; first: number } | null {
  const bytes = backend.get(V2_BUCKET, INDEX_KEY);
  if (bytes === null) return null;
  const match = /^(\d{1,15})\/(\d{1,15})$/.exec(bytes.toString('latin1'));
  if (match === null) throw unreadable('index');
  return { index: Number(match[1]), first: Number(match[2]) };
}

/** Removes all of it. */
export function clearKeys(backend: V2Backend): void {
  const keys: Buffer[] = [];
  backend.scan(V2_BUCKET, null, null, (key) => {
    keys.push(Buffer.from(key));
    return true;
  });
  for (const key of keys) backend.delete(V2_BUCKET, key);
}

/** All nodes but the root, parents first. */
export function readNodes(backend: Pick<V2Backend, 'scan'>, visit: (record: NodeRecord) => void): void {
  backend.scan(V2_BUCKET, NODES, NODES_END, (key, value) => {
    const record = parse(value) as Partial<NodeRecord> | null;
    if (record === null || typeof record.name !== 'string') throw unreadable(key.toString('hex'));
    visit({
      id: key.readUInt32BE(1) * 0x1_0000_0000 + key.readUInt32BE(5),
      parent: record.parent ?? 0,
      name: record.name,
      created: record.created ?? 0,
      modified: record.modified ?? 0,
      expires: record.expires ?? U64_ZERO,
      value: record.value ?? null,
    });
    return true;
  });
}

export function readEvents(backend: Pick<V2Backend, 'scan'>, visit: (event: V2Event) => void): void {
  backend.scan(V2_BUCKET, EVENTS, EVENTS_END, (key, value) => {
    const event = eventFromJson(parse(value), '');
    if (event === null) throw unreadable(key.toString('hex'));
    visit(event);
    return true;
  });
}

function parse(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString('utf8'));
  } catch {
    return null;
  }
}

function keyOf(kind: 'n' | 'e', number: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = kind === 'n' ? 0x6e : 0x65;
  key.writeUInt32BE(Math.floor(number / 0x1_0000_0000), 1);
  key.writeUInt32BE(number >>> 0, 5);
  return key;
}

function unreadable(key: string): CorruptionError {
  return new CorruptionError(
    'a stored part of the v2 keys can not be read',
    `bucket v2, key ${key}`,
    'Restore this member from the others: remove it and add it again.',
  );
}
