import { assert, OperatorError } from '@etsd/base';
import {
  AlarmAction,
  AlarmRequest,
  AlarmType,
  ClusterMemberAttrSetRequest,
  ClusterVersionSetRequest,
  type ConfChange,
  type ConfChangeV2,
  type ConfState,
  DowngradeInfoSetRequest,
  ErrCorrupt,
  ErrNoSpace,
  ErrUnknownMethod,
  type EtcdError,
  LeaseCheckpointRequest,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  RaftRequestField,
  RaftRequestView,
  TxnRequest,
  V2Request,
} from '@etsd/proto';
import { Alarms, RAISED_BY_MEMBER } from './alarms.ts';
import { AuthStore, type Caller, isAuthField } from './auth.ts';
import { AuthGuard } from './auth-guard.ts';
import { applyMembershipChange, checkMembershipChange, readMembershipChange } from './conf-change.ts';
import { ConsistentIndex } from './consistent-index.ts';
import { KvApplier } from './kv.ts';
import { Members } from './members.ts';
import type { BackendPort, LessorPort, StorePort } from './ports.ts';
import { AlarmResult, MembersResult, type Waiter } from './results.ts';
import { TxnApplier } from './txn.ts';
import { applyV2Request } from './v2/apply.ts';
import { V2Store } from './v2/store.ts';
import { ClusterVersion } from './version.ts';
import { checkWideChange, enterWideChange, leaveWideChange, readWideChange } from './wide-change.ts';

/** Entries in a window of the log: members compare what each window did to them. A power of two. */
export const WINDOW_ENTRIES = 256;

export interface StateParts {
  readonly backend: BackendPort;
  readonly store: StorePort;
  readonly lessor: LessorPort;
}

/**
 * What the log means. Entries come in order, each exactly once; the same entries give the same bytes in the backend on
 * every member. Nothing here knows a clock, chance or the network.
 *
 * ```
 *   entry ──▶ State.apply ──▶ kv, txn ──▶ store ──┐
 *                         ──▶ leases ────────────┼──▶ backend (one batch, with the index of the entry)
 *                         ──▶ members, alarms, ──┤
 *                             cluster version    │
 *                         ──▶ keys of etcd 2 ────┘
 * ```
 */
export class State {
  readonly store: StorePort;
  readonly lessor: LessorPort;
  readonly alarms: Alarms;
  readonly members: Members;
  readonly version: ClusterVersion;
  readonly auth: AuthStore;
  readonly guard: AuthGuard;
  readonly kv: KvApplier;
  readonly txn: TxnApplier;
  /** The keys of etcd 2. */
  readonly v2: V2Store;
  /** Called once a batch of entries is applied and everybody who waited has been told. */
  onBatchEnd: (() => void) | null = null;
  /** Called for the empty entry with which a leader begins its term. */
  onTermBegin: ((term: number) => void) | null = null;
  /**
   * Called when the last entry of a window, whose index is a multiple of `WINDOW_ENTRIES`, is applied and the next one is
   * about to be.
   */
  onWindow: ((index: number) => void) | null = null;
  private readonly progress: ConsistentIndex;
  private readonly view = new RaftRequestView();
  private readonly alarmResult = new AlarmResult();
  private readonly membersResult = new MembersResult();

  constructor({ backend, store, lessor }: StateParts) {
    this.store = store;
    this.lessor = lessor;
    this.progress = new ConsistentIndex(backend);
    this.alarms = new Alarms(backend);
    this.members = new Members(backend);
    this.version = new ClusterVersion(backend);
    this.auth = new AuthStore(backend);
    this.guard = new AuthGuard(this.auth, lessor);
    this.kv = new KvApplier(store, lessor, this.alarms);
    this.txn = new TxnApplier(store, lessor, this.alarms, this.kv);
    this.v2 = new V2Store(backend, () => this.v2Changes());
    this.members.onStored = (changes) => this.v2.skip(changes);
    this.version.onStored = () => this.v2.skip(1);
  }

  /** As many changes as it takes to come to these members and this version, where none was counted. */
  private v2Changes(): number {
    const members = this.members.list();
    const started = members.filter(({ isStarted }) => isStarted).length;
    const removed = this.members.removedIds().length;
    return members.length + started + removed + (this.version.version === '' ? 0 : 1);
  }

  /** What the last request was, as a `RaftRequestField`. */
  get lastField(): number {
    return this.view.field;
  }

  /** Index of the last applied entry. */
  get appliedIndex(): number {
    return this.progress.index;
  }

  /** Term of the last applied entry. */
  get appliedTerm(): number {
    return this.progress.term;
  }

  /** Who votes, as last applied; null where no membership change was applied yet. */
  get confState(): ConfState | null {
    return this.progress.confState;
  }

  /**
   * Applies the entry and tells the waiter, before returning, what came of it. An entry that is already applied (the log
   * is read again after a start) is passed over. Throws only where this member can not go on.
   */
  apply(index: number, term: number, data: Buffer, waiter: Waiter | null): void {
    if (!this.advance(index, term)) return;
    const view = this.view;
    view.parse(data);
    if (this.auth.enabled && this.isDenied(data, waiter)) return;
    switch (view.field) {
      case RaftRequestField.Put:
        this.kv.applyPut(data, view.bodyStart, view.bodyEnd, waiter);
        return;
      case RaftRequestField.Txn:
        this.applyTxn(data, waiter);
        return;
      case RaftRequestField.DeleteRange:
        this.kv.applyDelete(data, view.bodyStart, view.bodyEnd, waiter);
        return;
      default:
        this.applyRare(index, data, waiter);
    }
  }

  /** The entry without content that a leader writes when its term begins. */
  applyEmpty(index: number, term: number): void {
    if (!this.advance(index, term)) return;
    this.onTermBegin?.(term);
  }

  /**
   * Applies a membership change. `toRaft` hands the change to raft, or null where it is refused, and returns the voters
   * and learners from then on.
   */
  applyConfChange(
    index: number,
    term: number,
    change: ConfChange,
    toRaft: (change: ConfChange | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    if (!this.advance(index, term)) {
      toRaft(change);
      return;
    }
    const membership = readMembershipChange(change);
    const error = checkMembershipChange(membership, this.members);
    if (error !== null || membership === null) {
      toRaft(null);
      waiter?.fail(error ?? ErrUnknownMethod);
      return;
    }
    this.progress.setConfState(toRaft(change));
    applyMembershipChange(membership, this.members);
    this.membersResult.members = this.members.list();
    waiter?.done(this.membersResult);
  }

  /**
   * Puts into the open batch up to where the log is applied, also where the last entries changed nothing else: what is
   * frozen or flushed next then says so.
   */
  saveProgress(): void {
    this.progress.save();
  }

  /**
   * Says that the backend is about to be given another content: until `reload` nothing is written. Commits what there is
   * to say of the present state first.
   */
  beginReplacement(commit: () => void): void {
    this.progress.save();
    commit();
    this.progress.hold();
  }

  /**
   * Reads everything but keys and leases anew: the backend was given another state. Those two take longer and are read
   * beside (`Store.adopt`, `Lessor.adopt`).
   */
  reload(): void {
    this.progress.reload();
    this.alarms.reload();
    this.auth.reload();
    this.members.reload();
    this.version.reload();
    this.v2.reload(() => this.v2Changes());
  }

  /**
   * Applies a change of several members at once, or, where it names none, the step out of a joint configuration. `toRaft`
   * as above.
   */
  applyWideChange(
    index: number,
    term: number,
    change: ConfChangeV2,
    toRaft: (change: ConfChangeV2 | null) => ConfState,
    waiter: Waiter | null,
  ): void {
    if (!this.advance(index, term)) {
      toRaft(change);
      return;
    }
    if (change.changes.length === 0) {
      const conf = toRaft(change);
      this.progress.setConfState(conf);
      leaveWideChange(conf, this.members);
    } else {
      const changes = readWideChange(change);
      const error = changes === null ? ErrUnknownMethod : checkWideChange(changes, this.members);
      if (changes === null || error !== null) {
        toRaft(null);
        waiter?.fail(error ?? ErrUnknownMethod);
        return;
      }
      const conf = toRaft(change);
      this.progress.setConfState(conf);
      enterWideChange(changes, this.members);
      // One change alone needs no joint configuration: nothing is left later.
      if (conf.votersOutgoing.length === 0) leaveWideChange(conf, this.members);
    }
    this.membersResult.members = this.members.list();
    waiter?.done(this.membersResult);
  }

  /** To be called after the last entry of a batch. */
  batchEnd(): void {
    this.onBatchEnd?.();
  }

  private advance(index: number, term: number): boolean {
    if (index <= this.progress.index) return false;
    assert(index === this.progress.index + 1, 'entries are applied in order, none left out');
    if ((index & (WINDOW_ENTRIES - 1)) === 1) this.onWindow?.(index - 1);
    this.progress.advance(index, term);
    return true;
  }

  private applyTxn(data: Buffer, waiter: Waiter | null): void {
    const { view } = this;
    if (!this.auth.enabled) {
      this.txn.apply(data, view.bodyStart, view.bodyEnd, waiter);
      return;
    }
    const request = TxnRequest.decode(data, view.bodyStart, view.bodyEnd);
    this.txn.applyRequest(request, this.guard.txnError(request, view), waiter);
  }

  /**
   * Why the user may not write this, by what this member has applied; null where it may, or where an alarm refuses it anyway.
   * Judged for every entry when it is applied. The API asks it before it proposes: members of etcd that were not asked
   * themselves leave out parts of this for transactions, so that what is denied should not come into a log they share.
   */
  deniedError(field: number, data: Buffer, start: number, end: number, caller: Caller): EtcdError | null {
    const { alarms, auth, guard } = this;
    if (!auth.enabled || alarms.corrupt) return null;
    switch (field) {
      case RaftRequestField.Put:
        return alarms.noSpace ? null : guard.putError(data, start, end, caller);
      case RaftRequestField.DeleteRange:
        return guard.deleteError(data, start, end, caller);
      case RaftRequestField.LeaseRevoke:
        return guard.revokeError(data, start, end, caller);
      case RaftRequestField.Txn:
        return guard.txnError(TxnRequest.decode(data, start, end), caller);
      default:
        return null;
    }
  }

  /**
   * Whether what the entry asks is denied to the user it names, who has been told then. A transaction is left to whoever
   * applies it; what only root may do, to the auth store.
   */
  private isDenied(data: Buffer, waiter: Waiter | null): boolean {
    const { view } = this;
    if (view.field === RaftRequestField.Txn) return false;
    const error = this.deniedError(view.field, data, view.bodyStart, view.bodyEnd, view);
    if (error === null) return false;
    waiter?.fail(error);
    return true;
  }

  private applyRare(index: number, data: Buffer, waiter: Waiter | null): void {
    const { field, bodyStart: start, bodyEnd: end } = this.view;
    switch (field) {
      case RaftRequestField.Compaction:
        this.kv.applyCompaction(data, start, end, waiter);
        return;
      case RaftRequestField.LeaseGrant:
        if (this.alarms.corrupt || this.alarms.noSpace) waiter?.fail(this.alarms.corrupt ? ErrCorrupt : ErrNoSpace);
        else this.lessor.applyGrant(LeaseGrantRequest.decode(data, start, end), waiter);
        return;
      case RaftRequestField.LeaseRevoke:
        if (this.alarms.corrupt) waiter?.fail(ErrCorrupt);
        else this.lessor.applyRevoke(LeaseRevokeRequest.decode(data, start, end), waiter);
        return;
      case RaftRequestField.LeaseCheckpoint:
        this.lessor.applyCheckpoint(LeaseCheckpointRequest.decode(data, start, end), waiter);
        return;
      case RaftRequestField.Alarm:
        this.applyAlarm(AlarmRequest.decode(data, start, end), isRaisedByMember(data, end), waiter);
        return;
      case RaftRequestField.Range:
        // A read that went through the log: etcd's oldest versions did that. It changes nothing, and nobody here asks.
        waiter?.fail(ErrUnknownMethod);
        return;
      default:
        this.applyCluster(index, data, waiter);
    }
  }

  private applyCluster(index: number, data: Buffer, waiter: Waiter | null): void {
    const { field, bodyStart: start, bodyEnd: end } = this.view;
    switch (field) {
      case RaftRequestField.ClusterVersionSet:
        this.version.set(ClusterVersionSetRequest.decode(data, start, end).ver);
        waiter?.done(null);
        return;
      case RaftRequestField.ClusterMemberAttrSet: {
        const request = ClusterMemberAttrSetRequest.decode(data, start, end);
        const attributes = request.memberAttributes;
        this.members.updateAttributes(request.memberID, attributes?.name ?? '', attributes?.clientUrls ?? []);
        waiter?.done(null);
        return;
      }
      case RaftRequestField.DowngradeInfoSet: {
        const request = DowngradeInfoSetRequest.decode(data, start, end);
        this.version.setDowngrade(request.enabled, request.ver);
        waiter?.done(null);
        return;
      }
      case RaftRequestField.V2: {
        const outcome = applyV2Request(V2Request.decode(data, start, end), this.members, this.version, this.v2);
        waiter?.done(outcome);
        return;
      }
      case RaftRequestField.DowngradeVersionTest:
        waiter?.done(null);
        return;
      default:
        if (!isAuthField(field)) throw unknownEntry(index, field);
        this.auth.apply(index, field, data, start, end, this.view, waiter);
    }
  }

  private applyAlarm(request: AlarmRequest, isByMember: boolean, waiter: Waiter | null): void {
    const result = this.alarmResult;
    result.revision = this.store.revision;
    switch (request.action) {
      case AlarmAction.GET:
        result.alarms = this.alarms.list(request.alarm);
        break;
      case AlarmAction.ACTIVATE: {
        const { alarm: type, memberID } = request;
        const alarm = type === AlarmType.NONE ? null : this.alarms.activate(memberID, type, !isByMember);
        result.alarms = alarm === null ? [] : [alarm];
        break;
      }
      case AlarmAction.DEACTIVATE: {
        const alarm = this.alarms.deactivate(request.memberID, request.alarm);
        result.alarms = alarm === null ? [] : [alarm];
        break;
      }
      default:
        waiter?.fail(ErrUnknownMethod);
        return;
    }
    waiter?.done(result);
  }
}

/** Whether the AlarmRequest that ends at `end` carries `RAISED_BY_MEMBER`. */
function isRaisedByMember(data: Buffer, end: number): boolean {
  const length = RAISED_BY_MEMBER.length;
  return end >= length && data.compare(RAISED_BY_MEMBER, 0, length, end - length, end) === 0;
}

function unknownEntry(index: number, field: number): OperatorError {
  return new OperatorError(
    `log entry ${index} asks for something this version does not know (field ${field})`,
    'Another member runs a newer version; run the same one here.',
  );
}
