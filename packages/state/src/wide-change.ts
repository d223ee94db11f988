/**
 * Membership entries that change several members at once, through a joint configuration (Raft thesis §4.3). etcd stops at
 * such an entry, so that only a cluster in which every member is etsd may write one.
 *
 * Additions and promotions take effect when the joint configuration is entered. Removals wait until it is left: until then
 * the members that go are still needed for a majority of the old configuration, hence must stay reachable.
 */
import { type U64, u64ToHex } from '@etsd/base';
import {
  ConfChange,
  ConfChangeSingle,
  ConfChangeType,
  ConfChangeV2,
  type ConfState,
  ErrMemberExist,
  ErrPeerURLExist,
  type EtcdError,
} from '@etsd/proto';
import {
  applyMembershipChange,
  checkMembershipChange,
  type MembershipChange,
  readMembershipChange,
} from './conf-change.ts';
import { goString, parseJsonObject } from './go-json.ts';
import type { Members } from './members.ts';

/** The change that makes all of `changes` at once; `id` is that of the request. */
export function wideChangeOf(id: U64, changes: readonly ConfChange[]): ConfChangeV2 {
  const contexts = changes.map(({ context }) => goString(context.toString('utf8'))).join(',');
  const wide = new ConfChangeV2();
  wide.changes = changes.map(({ type, nodeId }) => ConfChangeSingle.create({ type, nodeId }));
  wide.context = Buffer.from(`{"id":"${u64ToHex(id)}","contexts":[${contexts}]}`, 'utf8');
  return wide;
}

/** Reads what a wide change consists of; null where its context is not ours. */
export function readWideChange(wide: ConfChangeV2): MembershipChange[] | null {
  const contexts = parseJsonObject(wide.context.toString('utf8'))?.['contexts'];
  if (!Array.isArray(contexts) || contexts.length !== wide.changes.length) return null;
  const changes: MembershipChange[] = [];
  for (const [place, { type, nodeId }] of wide.changes.entries()) {
    const text: unknown = contexts[place];
    if (typeof text !== 'string') return null;
    const change = readMembershipChange(ConfChange.create({ type, nodeId, context: Buffer.from(text, 'utf8') }));
    if (change === null) return null;
    changes.push(change);
  }
  return changes;
}

/** As `checkMembershipChange`, and the parts must not contradict each other. */
export function checkWideChange(changes: readonly MembershipChange[], members: Members): EtcdError | null {
  const ids = new Set<U64>();
  const urls = new Set<string>();
  for (const change of changes) {
    const error = checkMembershipChange(change, members);
    if (error !== null) return error;
    if (ids.has(change.id)) return ErrMemberExist;
    ids.add(change.id);
    for (const url of change.member?.peerURLs ?? []) {
      if (urls.has(url)) return ErrPeerURLExist;
      urls.add(url);
    }
  }
  return null;
}

/** Brings a change that passed the check into the member list, but for its removals. */
export function enterWideChange(changes: readonly MembershipChange[], members: Members): void {
  for (const change of changes) {
    if (change.type !== ConfChangeType.ConfChangeRemoveNode) applyMembershipChange(change, members);
  }
}

/** The joint configuration is left: whoever is in no list any more is removed. */
export function leaveWideChange(conf: ConfState, members: Members): void {
  const present = new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners, ...conf.learnersNext]);
  for (const { id } of members.list()) if (!present.has(id)) members.remove(id);
}
