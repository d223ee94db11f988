/**
 * The keys in the JSON that etcd up to 3.6 puts into the data of a snapshot: all that a member needs to go on with them,
 * one of etcd's or of ours. Trees may be deep, so nothing here calls itself.
 */
import { goString } from '../go-json.ts';
import { keptEventJson } from './event.ts';
import { eventFromJson, isObject, numberOf, textOf } from './event-json.ts';
import { HISTORY_EVENTS } from './history.ts';
import { V2Node } from './node.ts';
import {
  clearKeys,
  type NodeRecord,
  putEvent,
  putIndex,
  putNode,
  readEvents,
  readIndex,
  readNodes,
  type V2Backend,
} from './records.ts';
import { momentFromText, momentText, NEVER } from './time.ts';

/** A node that never expires. */
const FOREVER = '0001-01-01T00:00:00Z';
const PREFIX = '/1';

/** The keys of a stored state, as parts of etcd's JSON. */
export interface KeptKeys {
  /** Of the last change. */
  readonly index: number;
  /** The directory of all keys. */
  readonly tree: string;
  /** The remembered changes. */
  readonly history: string;
}

/** Reads them from a state. `changesBefore`: how many changes lie behind one in which nothing says so. */
export function keptKeys(source: Pick<V2Backend, 'get' | 'scan'>, changesBefore: number): KeptKeys {
  const kept = readIndex(source) ?? { index: changesBefore, first: changesBefore };
  return { index: kept.index, tree: treeJson(source), history: historyJson(source, kept.first, kept.index) };
}

function treeJson(source: Pick<V2Backend, 'scan'>): string {
  const children = new Map<number, NodeRecord[]>([[0, []]]);
  readNodes(source, (record) => {
    children.get(record.parent)?.push(record);
    if (record.value === null) children.set(record.id, []);
  });
  const parts = [nodeJson(PREFIX, null)];
  const open = [{ path: PREFIX, left: children.get(0) as NodeRecord[], at: 0 }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const record = top.left[top.at++];
    if (record === undefined) {
      open.pop();
      parts.push('}}');
      continue;
    }
    const path = `${top.path}/${record.name}`;
    parts.push(`${top.at > 1 ? ',' : ''}${goString(record.name)}:${nodeJson(path, record)}`);
    const inside = children.get(record.id);
    if (record.value === null && inside !== undefined) open.push({ path, left: inside, at: 0 });
  }
  return parts.join('');
}

/** A node; that of a directory is left open where its children begin. */
function nodeJson(path: string, record: NodeRecord | null): string {
  const { created = 0, modified = 0, expires = NEVER, value = null } = record ?? {};
  const end = expires === NEVER ? FOREVER : momentText(expires);
  const head = `{"Path":${goString(path)},"CreatedIndex":${created},"ModifiedIndex":${modified},"ExpireTime":"${end}"`;
  return `${head},"Value":${goString(value ?? '')},"Children":${value === null ? '{' : 'null}'}`;
}

/** Etcd looks at every place of its ring between the first and the last: none may be empty. */
function historyJson(source: Pick<V2Backend, 'scan'>, first: number, last: number): string {
  const count = last === 0 ? 0 : last - first + 1;
  const events: string[] = Array.from({ length: HISTORY_EVENTS }, (_, place) =>
    place < count ? unseen(first + place) : 'null',
  );
  readEvents(source, (event) => {
    if (event.index >= first && event.index <= last) events[event.index - first] = keptEventJson(event, PREFIX);
  });
  const back = count % HISTORY_EVENTS;
  const queue = `{"Events":[${events.join(',')}],"Size":${count},"Front":0,"Back":${back},"Capacity":${HISTORY_EVENTS}}`;
  return `{"Queue":${queue},"StartIndex":${first},"LastIndex":${last}}`;
}

/** A change of what no client sees. */
function unseen(index: number): string {
  return `{"action":"set","node":{"key":"/0","value":"","modifiedIndex":${index},"createdIndex":${index}}}`;
}

/**
 * Puts the keys in the data of a snapshot, from etcd or from here, in place of those of a state. Data without any (of
 * later versions of etcd) leaves none. False where the data is not such JSON.
 */
export function putKeysFromSnapshot(backend: V2Backend, data: Buffer): boolean {
  const parsed = data.length === 0 ? null : parse(data);
  clearKeys(backend);
  if (!isObject(parsed)) return false;
  const index = numberOf(parsed['CurrentIndex']);
  const history = insideOf(insideOf(parsed, 'WatcherHub'), 'EventHistory');
  const queue = insideOf(history, 'Queue');
  const first = index === 0 ? 0 : Math.max(1, index - numberOf(queue['Size']) + 1);
  putIndex(backend, index, Math.min(first, index));
  putTree(backend, insideOf(insideOf(parsed, 'Root'), 'Children')['1']);
  const events = queue['Events'];
  for (const value of Array.isArray(events) ? (events as unknown[]) : []) {
    const event = eventFromJson(value, PREFIX);
    if (event !== null && event.index >= first && event.index <= index) putEvent(backend, event.index, event);
  }
  return true;
}

function putTree(backend: V2Backend, top: unknown): void {
  let id = 0;
  const open: [node: V2Node, json: unknown][] = [[new V2Node(0, null, '', true, '', 0), top]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [parent, json] = next;
    for (const [name, child] of Object.entries(insideOf(isObject(json) ? json : {}, 'Children'))) {
      if (!isObject(child)) continue;
      const isDir = isObject(child['Children']);
      const created = numberOf(child['CreatedIndex']);
      const node = new V2Node(++id, parent, name, isDir, textOf(child['Value']) ?? '', created);
      node.modified = numberOf(child['ModifiedIndex']);
      node.setExpires(momentFromText(textOf(child['ExpireTime']) ?? ''));
      putNode(backend, node);
      if (isDir) open.push([node, child]);
    }
  }
}

function insideOf(value: Record<string, unknown>, name: string): Record<string, unknown> {
  const inside = value[name];
  return isObject(inside) ? inside : {};
}

function parse(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch {
    return null;
  }
}
