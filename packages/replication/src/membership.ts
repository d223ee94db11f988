import { createHash } from 'node:crypto';
import { type U64, u64FromBytes, u64ToDecimal, u64WriteBytes } from '@etsd/base';
import { ConfChange, ConfChangeType, Entry, EntryType } from '@etsd/proto';

/** A member of a cluster to be founded, as the flag `initial-cluster` names it. */
export interface FoundingMember {
  readonly name: string;
  readonly peerUrls: readonly string[];
}

/** The same with its id. */
export interface IdentifiedMember extends FoundingMember {
  readonly id: U64;
}

/** The id of a founding member: the first half of the SHA-1 of its sorted peer URLs and the cluster's token. */
export function foundingMemberId(peerUrls: readonly string[], token: string): U64 {
  return firstHalf(Buffer.from([...peerUrls].sort().join('') + token, 'utf8'));
}

/** The id of a member that joins later: as above without a token, but with the time, so that it never comes again. */
export function joiningMemberId(peerUrls: readonly string[], unixSeconds: number): U64 {
  return firstHalf(Buffer.from([...peerUrls].sort().join('') + String(Math.floor(unixSeconds)), 'utf8'));
}

/** The id of a cluster: the same over the ids of its founding members in ascending order. */
export function clusterIdOf(memberIds: readonly U64[]): U64 {
  const bytes = Buffer.alloc(memberIds.length * 8);
  let offset = 0;
  for (const id of [...memberIds].sort()) offset = u64WriteBytes(id, bytes, offset);
  return firstHalf(bytes);
}

function firstHalf(bytes: Buffer): U64 {
  return u64FromBytes(createHash('sha1').update(bytes).digest());
}

/** The founding members with their ids, in ascending order of those: the order of the first entries of the log. */
export function identify(members: readonly FoundingMember[], token: string): IdentifiedMember[] {
  const identified = members.map((member) => ({ ...member, id: foundingMemberId(member.peerUrls, token) }));
  return identified.sort((left, right) => (left.id < right.id ? -1 : 1));
}

/** The entry that adds a founding member; index and term are given by raft. */
export function foundingEntry(member: IdentifiedMember): Entry {
  return confChangeEntry(ConfChangeType.ConfChangeAddNode, member.id, memberContext(member, false));
}

export function confChangeEntry(type: number, nodeId: U64, context: Buffer | null): Entry {
  const change = new ConfChange();
  change.type = type;
  change.nodeId = nodeId;
  if (context !== null) change.context = context;
  const entry = new Entry();
  entry.type = EntryType.EntryConfChange;
  entry.data = ConfChange.encode(change);
  return entry;
}

/** A member as JSON, in the order and spelling of Go's encoder, since the bytes are part of the log. */
export function memberContext(member: IdentifiedMember, isPromote: boolean): Buffer {
  const urls = [...member.peerUrls].sort().map(goString).join(',');
  let text = `{"id":${u64ToDecimal(member.id)},"peerURLs":[${urls}]`;
  if (member.name !== '') text += `,"name":${goString(member.name)}`;
  if (isPromote) text += ',"isPromote":true';
  return Buffer.from(`${text}}`, 'utf8');
}

/** Go escapes what HTML could take amiss, and the two line separators JavaScript once could not read. */
function goString(text: string): string {
  return JSON.stringify(text).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
