import { type V2Action, V2Event, V2Shown } from './event.ts';
import { momentFromText } from './time.ts';

const ACTIONS: readonly string[] = [
  'get',
  'create',
  'set',
  'update',
  'delete',
  'compareAndSwap',
  'compareAndDelete',
  'expire',
] satisfies readonly V2Action[];

/** An event from what `keptEventJson` wrote, or etcd, parsed; null where it is none, or of a key outside of `prefix`. */
export function eventFromJson(value: unknown, prefix: string): V2Event | null {
  if (!isObject(value)) return null;
  const { action, node, prevNode, refresh } = value;
  const shown = shownFrom(node, prefix);
  if (shown === null || typeof action !== 'string' || !ACTIONS.includes(action)) return null;
  const event = new V2Event(action as V2Action, shown);
  event.previous = shownFrom(prevNode, prefix);
  event.isRefresh = refresh === true;
  return event;
}

function shownFrom(value: unknown, prefix: string): V2Shown | null {
  if (!isObject(value)) return null;
  const key = textOf(value['key']) ?? '';
  if (key !== prefix && !key.startsWith(`${prefix}/`)) return null;
  const shown = new V2Shown(
    key.slice(prefix.length) || '/',
    numberOf(value['modifiedIndex']),
    numberOf(value['createdIndex']),
  );
  shown.value = textOf(value['value']);
  shown.isDir = value['dir'] === true;
  shown.expires = momentFromText(textOf(value['expiration']) ?? '');
  shown.ttl = numberOf(value['ttl']);
  return shown;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

export function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : 0;
}
