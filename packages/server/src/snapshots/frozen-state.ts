import { type BackendReader, META_CONF_STATE, META_CONSISTENT_INDEX, META_TERM } from '@etsd/backend';
import { CorruptionError, type U64, u64FromHex } from '@etsd/base';
import type { ConfState } from '@etsd/proto';
import { confStateFromJson, type MemberRecord, memberFromJson } from '@etsd/state';

/** What a stored state says of itself: how far it has applied the log, who votes, who the members are. */
export interface FrozenState {
  readonly index: number;
  readonly term: number;
  /** Null before the first change of members was applied. */
  readonly confState: ConfState | null;
  /** By id. */
  readonly members: readonly MemberRecord[];
  /** Ids of former members, in order. */
  readonly removed: readonly U64[];
  /** Of the cluster; empty where it is not decided. */
  readonly clusterVersion: string;
}

/** As many changes as etcd makes of what such a state says, in its store of version 2, where none was counted. */
export function v2ChangesOf({ members, removed, clusterVersion }: FrozenState): number {
  const started = members.filter(({ isStarted }) => isStarted).length;
  return members.length + started + removed.length + (clusterVersion === '' ? 0 : 1);
}

const CLUSTER_VERSION = Buffer.from('clusterVersion');
const TWO_32 = 0x1_0000_0000;

/** Reads what a state says of itself. */
export function readFrozenState(source: BackendReader): FrozenState {
  // Each is read to its end before the next: what `get` returns is valid for no longer.
  const confState = source.get('meta', META_CONF_STATE)?.toString('utf8') ?? null;
  return {
    index: readNumber(source.get('meta', META_CONSISTENT_INDEX)),
    term: readNumber(source.get('meta', META_TERM)),
    confState: confState === null ? null : confStateFromJson(confState),
    members: readMembers(source),
    removed: readRemoved(source),
    clusterVersion: source.get('cluster', CLUSTER_VERSION)?.toString('utf8') ?? '',
  };
}

/** The eight bytes of an index or term. */
export function numberBytes(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeUInt32BE(Math.floor(value / TWO_32), 0);
  bytes.writeUInt32BE(value % TWO_32, 4);
  return bytes;
}

function readNumber(bytes: Buffer | null): number {
  return bytes === null || bytes.length !== 8 ? 0 : bytes.readUInt32BE(0) * TWO_32 + bytes.readUInt32BE(4);
}

function readMembers(source: BackendReader): MemberRecord[] {
  const members: MemberRecord[] = [];
  source.scan('members', null, null, (key, value) => {
    const member = memberFromJson(value.toString('utf8'));
    if (member === undefined) {
      throw new CorruptionError(
        'a stored member can not be read',
        `bucket members, key ${key.toString('latin1')}`,
        'Restore this member from the others: remove it and add it again.',
      );
    }
    members.push(member);
    return true;
  });
  return members.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function readRemoved(source: BackendReader): U64[] {
  const removed: U64[] = [];
  source.scan('members_removed', null, null, (key) => {
    const id = u64FromHex(key.toString('latin1'));
    if (id !== undefined) removed.push(id);
    return true;
  });
  return removed.sort();
}
