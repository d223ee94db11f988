import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where a program stands in PATH; null if it does not. */
export function findProgram(name: string): string | null {
  return findIn((process.env['PATH'] ?? '').split(delimiter), name);
}

/** A program of real etcd (`etcd`, `etcdctl`, `etcdutl`) from the folder PEER_ETCD_BIN, then from PATH; null if there is none. */
export function findPeerProgram(name: string): string | null {
  return findIn([process.env['PEER_ETCD_BIN'] ?? ''], name) ?? findProgram(name);
}

/** The server of etcd 3.4 from the folder PEER_ETCD_34_BIN; null if there is none. */
export function findPeer34(): string | null {
  return findIn([process.env['PEER_ETCD_34_BIN'] ?? ''], 'etcd');
}

/** For `skip:` of a test that needs real etcd: false when it is there, else the reason to print. */
export function needsPeer(...names: string[]): string | false {
  const missing = names.filter((name) => findPeerProgram(name) === null);
  return missing.length === 0 ? false : `real ${missing.join(' and ')} not found in PEER_ETCD_BIN or PATH`;
}

/** The same of the server of etcd 3.4. */
export function needsPeer34(): string | false {
  return findPeer34() === null ? 'real etcd 3.4 not found in PEER_ETCD_34_BIN' : false;
}

function findIn(folders: readonly string[], name: string): string | null {
  for (const folder of folders) {
    if (folder !== '' && existsSync(join(folder, name))) return join(folder, name);
  }
  return null;
}
