/**
 * Log entries in the form of etcd 2: the keys of that time, and how members up to 3.5 announce themselves and the cluster
 * version.
 */
import { u64FromHex } from '@etsd/base';
import type { V2Request } from '@etsd/proto';
import { parseJsonObject, stringsOf } from '../go-json.ts';
import type { Members } from '../members.ts';
import { type ClusterVersion, parseVersion } from '../version.ts';
import type { V2Outcome, V2Store } from './store.ts';

const ATTRIBUTES_PATH = /^\/0\/members\/([0-9a-fA-F]{1,16})\/attributes$/;
const VERSION_PATH = '/0/version';
/** Before the path of every key: what lies elsewhere is etcd's own. */
export const KEYS_ROOT = '/1';

/** Applies the entry. What came of it, where that is something of the keys; null otherwise. */
export function applyV2Request(
  request: V2Request,
  members: Members,
  version: ClusterVersion,
  keys: V2Store,
): V2Outcome | null {
  const { method, path } = request;
  if (method === 'SYNC') {
    keys.sync(request);
    return null;
  }
  if (path === KEYS_ROOT || path.startsWith(`${KEYS_ROOT}/`)) return keys.apply(request, path.slice(KEYS_ROOT.length));
  if (method !== 'PUT') return null;
  if (path === VERSION_PATH) {
    if (parseVersion(request.val) !== undefined) version.set(request.val);
    return null;
  }
  const match = ATTRIBUTES_PATH.exec(path);
  if (match === null) return null;
  const id = u64FromHex(match[1] as string);
  const attributes = parseJsonObject(request.val);
  if (id === undefined || attributes === undefined) return null;
  const name = attributes['name'];
  members.updateAttributes(id, typeof name === 'string' ? name : '', stringsOf(attributes['clientURLs']));
  return null;
}
