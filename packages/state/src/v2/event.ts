import type { U64 } from '@etsd/base';
import { goString } from '../go-json.ts';
import { momentText, NEVER } from './time.ts';

/** Error codes of etcd 2 that the tree itself answers. */
export const V2Code = {
  KeyNotFound: 100,
  TestFailed: 101,
  NotFile: 102,
  NotDir: 104,
  NodeExists: 105,
  RootReadOnly: 107,
  DirNotEmpty: 108,
  RaftInternal: 300,
  EventIndexCleared: 401,
} as const;

/** What became of a request that changed nothing: an outcome like any other, told to whoever asked. */
export class V2Failure {
  readonly code: number;
  readonly cause: string;
  /** Of the tree when it failed. */
  readonly index: number;

  constructor(code: number, cause: string, index: number) {
    this.code = code;
    this.cause = cause;
    this.index = index;
  }
}

export type V2Action =
  | 'get'
  | 'create'
  | 'set'
  | 'update'
  | 'delete'
  | 'compareAndSwap'
  | 'compareAndDelete'
  | 'expire';

/** A node as an event tells of it: what it was at that moment, without what lies in it. */
export class V2Shown {
  /** From the root of the keys: `/dir/key`. */
  key: string;
  /** Null for directories, and for what was removed. */
  value: string | null = null;
  isDir = false;
  expires: U64 = NEVER;
  /** Seconds left at that moment. */
  ttl = 0;
  modified: number;
  created: number;

  constructor(key: string, modified: number, created: number) {
    this.key = key;
    this.modified = modified;
    this.created = created;
  }
}

/** A change of the tree, which has an index of its own. */
export class V2Event {
  readonly action: V2Action;
  readonly node: V2Shown;
  previous: V2Shown | null = null;
  /** Only the time to live was renewed: those who watch are not told. */
  isRefresh = false;
  /** What clients are told, once somebody was. */
  json: string | null = null;

  constructor(action: V2Action, node: V2Shown) {
    this.action = action;
    this.node = node;
  }

  get index(): number {
    return this.node.modified;
  }

  /** Whether it made a key that was not there. */
  get hasCreated(): boolean {
    return this.action === 'create' || (this.action === 'set' && this.previous === null);
  }
}

/** The fields of a node in etcd's order, without braces and without what lies in it. `prefix` comes before the key. */
export function nodeHead(shown: V2Shown, prefix: string): string {
  const key = shown.key === '/' ? prefix : prefix + shown.key;
  let text = key === '' ? '' : `,"key":${goString(key)}`;
  if (shown.value !== null) text += `,"value":${goString(shown.value)}`;
  if (shown.isDir) text += ',"dir":true';
  if (shown.expires !== NEVER) text += `,"expiration":"${momentText(shown.expires)}"`;
  if (shown.ttl !== 0) text += `,"ttl":${shown.ttl}`;
  return text.slice(1);
}

/** The fields behind what lies in a node. */
export function nodeTail({ modified, created }: V2Shown): string {
  if (modified === 0) return created === 0 ? '' : `"createdIndex":${created}`;
  return created === 0 ? `"modifiedIndex":${modified}` : `"modifiedIndex":${modified},"createdIndex":${created}`;
}

export function shownJson(shown: V2Shown, prefix = ''): string {
  const head = nodeHead(shown, prefix);
  const tail = nodeTail(shown);
  return head === '' || tail === '' ? `{${head}${tail}}` : `{${head},${tail}}`;
}

/** What a client is told of a change. It is made once: the store keeps it, and everybody who waited is told the same. */
export function eventJson(event: V2Event): string {
  event.json ??= `{${eventFields(event, '')}}`;
  return event.json;
}

/** The same as etcd keeps it. */
export function keptEventJson(event: V2Event, prefix: string): string {
  if (prefix === '' && !event.isRefresh) return eventJson(event);
  return `{${eventFields(event, prefix)}${event.isRefresh ? ',"refresh":true' : ''}}`;
}

function eventFields({ action, node, previous }: V2Event, prefix: string): string {
  const before = previous === null ? '' : `,"prevNode":${shownJson(previous, prefix)}`;
  return `"action":"${action}","node":${shownJson(node, prefix)}${before}`;
}
