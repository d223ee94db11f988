/**
 * Log entries in the form of etcd 2: members up to 3.5 still announce themselves and the cluster version that way. All
 * else of that form concerned the old key space, which does not exist here, and means nothing.
 */
import { u64FromHex } from '@etsd/base';
import type { V2Request } from '@etsd/proto';
import { parseJsonObject, stringsOf } from './go-json.ts';
import type { Members } from './members.ts';
import { type ClusterVersion, parseVersion } from './version.ts';

const ATTRIBUTES_PATH = /^\/0\/members\/([0-9a-fA-F]{1,16})\/attributes$/;
const VERSION_PATH = '/0/version';

/** Applies what still has a meaning. */
export function applyV2Request(request: V2Request, members: Members, version: ClusterVersion): void {
  if (request.method !== 'PUT') return;
  if (request.path === VERSION_PATH) {
    if (parseVersion(request.val) !== undefined) version.set(request.val);
    return;
  }
  const match = ATTRIBUTES_PATH.exec(request.path);
  if (match === null) return;
  const id = u64FromHex(match[1] as string);
  const attributes = parseJsonObject(request.val);
  if (id === undefined || attributes === undefined) return;
  const name = attributes['name'];
  members.updateAttributes(id, typeof name === 'string' ? name : '', stringsOf(attributes['clientURLs']));
}
