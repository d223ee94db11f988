/** Random users, rights and requests over a handful of keys, so that rights and requests meet often. */
import type { Message } from '../support/client.ts';

export const USERS = ['ann', 'bob', 'cid', 'dan'] as const;
export const ROLES = ['r1', 'r2', 'r3', 'r4'] as const;
const LEASES = [71, 72, 73] as const;
const KEYS = ['a', 'b', 'b\0', 'ba', 'c', 'd', 'e'] as const;
const TYPES = ['READ', 'WRITE', 'READWRITE'] as const;
const OPEN = Buffer.from([0]);

/** Numbers from a seed (mulberry32): a failure is found again. */
export class Chance {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let word = this.state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) % bound;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  one(outOf: number): boolean {
    return this.below(outOf) === 0;
  }
}

/** One request of a service; `stream` where the answer is the first that comes on a stream. */
export interface Ask {
  readonly method: string;
  readonly message: Message;
  readonly stream?: true;
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

function range(chance: Chance): Message {
  const key = bytes(chance.pick(KEYS));
  if (chance.one(2)) return { key };
  if (chance.one(6)) return { key: chance.one(2) ? OPEN : key, range_end: OPEN };
  const end = bytes(chance.pick(KEYS));
  return Buffer.compare(key, end) < 0 ? { key, range_end: end } : { key };
}

/** Never with an open end: etcd 3.5.30 asks for a right on the first key only there (GHSA-xg4h-6gfc-h4m8). */
function watched(chance: Chance): Message {
  const { key, range_end } = range(chance);
  return (range_end as Buffer | undefined)?.equals(OPEN) === true ? { key } : { key, range_end };
}

function put(chance: Chance): Message {
  const message: Message = { key: bytes(chance.pick(KEYS)), value: bytes('v'), prev_kv: chance.one(3) };
  return chance.one(3) ? { ...message, lease: chance.pick(LEASES) } : message;
}

function op(chance: Chance, depth: number): Message {
  const kind = chance.below(depth > 0 ? 5 : 4);
  if (kind === 0) return { request_put: put(chance) };
  if (kind === 1) return { request_delete_range: { ...range(chance), prev_kv: chance.one(3) } };
  if (kind === 4) return { request_txn: txn(chance, depth - 1) };
  return { request_range: range(chance) };
}

function txn(chance: Chance, depth: number): Message {
  const ops = () => Array.from({ length: chance.below(3) }, () => op(chance, depth));
  const compare = chance.one(2) ? [{ ...range(chance), target: 'VERSION', result: 'GREATER', version: 0 }] : [];
  return { compare, success: ops(), failure: ops() };
}

/** Something anybody might try. */
export function request(chance: Chance): Ask {
  const ID = chance.pick(LEASES);
  switch (chance.below(30)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return { method: 'KV/Range', message: { ...range(chance), serializable: chance.one(3) } };
    case 5:
    case 6:
    case 7:
    case 8:
      return { method: 'KV/Put', message: put(chance) };
    case 9:
    case 10:
      return { method: 'KV/DeleteRange', message: { ...range(chance), prev_kv: chance.one(3) } };
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
      return { method: 'KV/Txn', message: txn(chance, 2) };
    case 16:
    case 17:
      return { method: 'Watch/Watch', message: { create_request: watched(chance) }, stream: true };
    case 18:
      return { method: 'Lease/LeaseKeepAlive', message: { ID }, stream: true };
    case 19:
      return { method: 'Lease/LeaseRevoke', message: { ID } };
    case 20:
    case 21:
      return { method: 'Lease/LeaseGrant', message: { ID, TTL: 5000 } };
    case 22:
      return { method: 'Lease/LeaseTimeToLive', message: { ID, keys: chance.one(2) } };
    case 23:
      return { method: 'Lease/LeaseLeases', message: {} };
    default:
      return rare(chance);
  }
}

function rare(chance: Chance): Ask {
  return chance.pick<Ask>([
    { method: 'KV/Compact', message: { revision: 1_000_000 } },
    { method: 'Cluster/MemberList', message: { linearizable: chance.one(2) } },
    { method: 'Cluster/MemberRemove', message: { ID: 5 } },
    { method: 'Maintenance/Status', message: {} },
    { method: 'Maintenance/Hash', message: {} },
    { method: 'Maintenance/HashKV', message: {} },
    { method: 'Maintenance/Alarm', message: {} },
    { method: 'Maintenance/Alarm', message: { action: 'DEACTIVATE', alarm: 'NOSPACE' } },
    { method: 'Maintenance/MoveLeader', message: { targetID: 5 } },
    { method: 'Auth/AuthStatus', message: {} },
    { method: 'Auth/UserGet', message: { name: chance.pick([...USERS, 'root', 'none']) } },
    { method: 'Auth/UserList', message: {} },
    { method: 'Auth/RoleGet', message: { role: chance.pick([...ROLES, 'root', 'none']) } },
    { method: 'Auth/RoleList', message: {} },
    { method: 'Auth/UserAdd', message: { name: 'ann', password: 'x' } },
    { method: 'Auth/RoleAdd', message: { name: 'r1' } },
    { method: 'v3lockpb.Lock/Unlock', message: { key: bytes(chance.pick(KEYS)) } },
    { method: 'v3electionpb.Election/Leader', message: { name: bytes(chance.pick(KEYS)) } },
  ]);
}

/** A change of rights, for root to make. */
export function change(chance: Chance): Ask {
  const user = chance.pick(USERS);
  const role = chance.pick(ROLES);
  const { key, range_end } = range(chance);
  switch (chance.below(8)) {
    case 0:
      return { method: 'Auth/UserRevokeRole', message: { name: user, role } };
    case 1:
    case 2:
      return { method: 'Auth/UserGrantRole', message: { user, role } };
    case 3:
      return { method: 'Auth/RoleRevokePermission', message: { role, key, range_end } };
    case 4:
      return { method: chance.one(2) ? 'Auth/RoleDelete' : 'Auth/RoleAdd', message: { role, name: role } };
    default: {
      const perm = { permType: chance.pick(TYPES), key, range_end };
      return { method: 'Auth/RoleGrantPermission', message: { name: role, perm } };
    }
  }
}
