import { assert, CorruptionError, type U64, u64FromHex, u64ToDecimal, u64ToHex } from '@etsd/base';
import { goString, goStrings, JsonId, parseJsonObject, parseJsonObjects, stringsOf } from './go-json.ts';
import type { BackendPort } from './ports.ts';

const MEMBERS = 'members';
const REMOVED = 'members_removed';
const REMOVED_VALUE = Buffer.from('removed');

/** Learners a cluster may have at a time, where the operator does not say. */
export const LEARNERS_MAX = 1;

/** One member as the log made it. */
export class MemberRecord {
  readonly id: U64;
  peerURLs: string[];
  isLearner: boolean;
  /** Empty until the member has started once and published itself. */
  name: string;
  clientURLs: string[];

  constructor(id: U64, peerURLs: string[], isLearner = false, name = '', clientURLs: string[] = []) {
    this.id = id;
    this.peerURLs = peerURLs;
    this.isLearner = isLearner;
    this.name = name;
    this.clientURLs = clientURLs;
  }

  /** Whether it has published itself, which is etcd's word for started. */
  get isStarted(): boolean {
    return this.name !== '';
  }
}

/** Hears of changes of the membership, after they are applied: the transport to the peers does. */
export interface MembersListener {
  memberAdded(member: MemberRecord): void;
  memberUpdated(member: MemberRecord): void;
  memberRemoved(id: U64): void;
}

/** The member list as applied, and the ids that were removed and must never come back. */
export class Members {
  listener: MembersListener | null = null;
  /** Told when the log has changed something here, and how many changes etcd makes of that in its own store. */
  onStored: ((changes: number) => void) | null = null;
  /** Learners there may be at a time. The same on all members, as in etcd: additions are judged by it as they are applied. */
  learnersMax = LEARNERS_MAX;
  private readonly byId = new Map<U64, MemberRecord>();
  private readonly removed = new Set<U64>();
  private readonly backend: BackendPort;

  constructor(backend: BackendPort) {
    this.backend = backend;
    this.read();
  }

  private read(): void {
    const { backend } = this;
    backend.scan(MEMBERS, null, null, (key, value) => {
      const member = memberFromJson(value.toString('utf8'));
      if (member === undefined || u64ToHex(member.id) !== key.toString('latin1')) {
        throw new CorruptionError(
          'a stored member can not be read',
          `bucket members, key ${key.toString('latin1')}`,
          'Restore this member from the others: remove it and add it again.',
        );
      }
      this.byId.set(member.id, member);
      return true;
    });
    backend.scan(REMOVED, null, null, (key) => {
      const id = u64FromHex(key.toString('latin1'));
      if (id !== undefined) this.removed.add(id);
      return true;
    });
  }

  /** Reads what the backend says now, and tells the listener what is different. */
  reload(): void {
    const before = new Map(this.byId);
    const removedBefore = new Set(this.removed);
    this.byId.clear();
    this.removed.clear();
    this.read();
    const { listener } = this;
    if (listener === null) return;
    for (const member of this.byId.values()) {
      const known = before.get(member.id);
      if (known === undefined) listener.memberAdded(member);
      else if (memberToJson(known) !== memberToJson(member)) listener.memberUpdated(member);
    }
    for (const id of before.keys()) if (!this.byId.has(id)) listener.memberRemoved(id);
    for (const id of this.removed) {
      if (!removedBefore.has(id) && !before.has(id)) listener.memberRemoved(id);
    }
  }

  /** The ids of those that were members once, in order. */
  removedIds(): U64[] {
    return [...this.removed].sort();
  }

  get size(): number {
    return this.byId.size;
  }

  get(id: U64): MemberRecord | undefined {
    return this.byId.get(id);
  }

  /** Whether the member is here and does not vote. */
  isLearner(id: U64): boolean {
    return this.byId.get(id)?.isLearner === true;
  }

  isRemoved(id: U64): boolean {
    return this.removed.has(id);
  }

  /** All members, by id. */
  list(): MemberRecord[] {
    return [...this.byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Those who vote, by id. */
  voters(): MemberRecord[] {
    return this.list().filter((member) => !member.isLearner);
  }

  learnerCount(): number {
    let count = 0;
    for (const member of this.byId.values()) if (member.isLearner) count++;
    return count;
  }

  /** Whether a member other than `except` has one of these peer URLs. */
  hasPeerUrl(urls: readonly string[], except: U64 | null = null): boolean {
    for (const member of this.byId.values()) {
      if (member.id !== except && member.peerURLs.some((url) => urls.includes(url))) return true;
    }
    return false;
  }

  add(member: MemberRecord): void {
    assert(!this.byId.has(member.id), 'a member is added only once');
    this.byId.set(member.id, member);
    this.save(member);
    this.onStored?.(1);
    this.listener?.memberAdded(member);
  }

  remove(id: U64): void {
    const key = idKey(id);
    this.byId.delete(id);
    this.removed.add(id);
    this.backend.delete(MEMBERS, key);
    this.backend.put(REMOVED, key, REMOVED_VALUE);
    // The member goes, and what says that it was one comes.
    this.onStored?.(2);
    this.listener?.memberRemoved(id);
  }

  promote(id: U64): void {
    this.change(id, (member) => {
      member.isLearner = false;
    });
  }

  updatePeerUrls(id: U64, peerURLs: string[]): void {
    this.change(id, (member) => {
      member.peerURLs = peerURLs;
    });
  }

  /** What a member says of itself once it runs. An id that is gone meanwhile, or never was, is passed over. */
  updateAttributes(id: U64, name: string, clientURLs: string[]): void {
    if (!this.byId.has(id)) return;
    this.change(id, (member) => {
      member.name = name;
      member.clientURLs = clientURLs;
    });
  }

  private change(id: U64, edit: (member: MemberRecord) => void): void {
    const member = this.byId.get(id);
    assert(member !== undefined, 'only a member that exists is changed');
    edit(member);
    this.save(member);
    this.onStored?.(1);
    this.listener?.memberUpdated(member);
  }

  private save(member: MemberRecord): void {
    this.backend.put(MEMBERS, idKey(member.id), Buffer.from(memberToJson(member)));
  }
}

function idKey(id: U64): Buffer {
  return Buffer.from(u64ToHex(id), 'latin1');
}

/** The member as etcd writes it into its backend, its membership entries and its snapshots. */
export function memberToJson(member: MemberRecord): string {
  return `{${memberFields(member)}}`;
}

/** The fields of `memberToJson` without the braces. */
export function memberFields(member: MemberRecord): string {
  let text = `"id":${u64ToDecimal(member.id)},"peerURLs":${goStrings(member.peerURLs)}`;
  if (member.isLearner) text += ',"isLearner":true';
  if (member.name !== '') text += `,"name":${goString(member.name)}`;
  if (member.clientURLs.length > 0) text += `,"clientURLs":${goStrings(member.clientURLs)}`;
  return text;
}

/** Undefined where the text is no member. */
export function memberFromJson(text: string): MemberRecord | undefined {
  const fields = parseJsonObject(text);
  if (fields === undefined) return undefined;
  return memberFromFields(fields);
}

/** All members as one JSON array, as etcd answers who they are. */
export function membersToJson(members: readonly MemberRecord[]): string {
  return `[${members.map(memberToJson).join(',')}]`;
}

/** Undefined where the text is no list of members. */
export function membersFromJson(text: string): MemberRecord[] | undefined {
  const members = parseJsonObjects(text)?.map(memberFromFields);
  return members?.includes(undefined) === true ? undefined : (members as MemberRecord[] | undefined);
}

/** From an object of `parseJsonObject`. */
export function memberFromFields(fields: Record<string, unknown>): MemberRecord | undefined {
  const id = fields['id'];
  if (!(id instanceof JsonId)) return undefined;
  const name = fields['name'];
  return new MemberRecord(
    id.id,
    stringsOf(fields['peerURLs']),
    fields['isLearner'] === true,
    typeof name === 'string' ? name : '',
    stringsOf(fields['clientURLs']),
  );
}
