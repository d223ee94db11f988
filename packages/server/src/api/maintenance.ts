/** `etcdserverpb.Maintenance`: how the member is, and what an operator does to it. */
import { U64_ZERO, u64ToDecimal } from '@etsd/base';
import { HASH_SLICE_BYTES, KvHash } from '@etsd/mvcc';
import {
  AlarmAction,
  AlarmMember,
  AlarmRequest,
  AlarmResponse,
  AlarmType,
  DefragmentRequest,
  DefragmentResponse,
  DowngradeAction,
  DowngradeInfoSetRequest,
  DowngradeRequest,
  DowngradeResponse,
  ErrBadLeaderTransferee,
  ErrClusterVersionUnavailable,
  ErrDowngradeInProcess,
  ErrInvalidDowngradeTargetVersion,
  ErrNoInflightDowngrade,
  ErrNoLeader,
  ErrNotLeader,
  ErrUnknownMethod,
  ErrWrongDowngradeVersionFormat,
  EtcdError,
  GrpcCode,
  HashKVRequest,
  HashKVResponse,
  HashRequest,
  HashResponse,
  MoveLeaderRequest,
  MoveLeaderResponse,
  RaftRequestField,
  StatusRequest,
  StatusResponse,
} from '@etsd/proto';
import { type AlarmResult, parseVersion } from '@etsd/state';
import type { ApiWaiter, MemberContext } from '../context.ts';
import { PROTOCOL_VERSION } from '../version.ts';
import { proposeRequest } from './guards.ts';
import { responseHeader } from './headers.ts';
import type { SlicedJob, SliceRunner } from './slice-runner.ts';
import { type Reply, registerUnary } from './unary.ts';

const ALARM_NAMES: Readonly<Record<number, string>> = { 0: 'NONE', 1: 'NOSPACE', 2: 'CORRUPT' };

/** Hears how long something took, in seconds. */
interface Times {
  observe(seconds: number): void;
}

export interface HashTimes {
  readonly whole: Times;
  readonly atRevision: Times;
}

export interface MaintenanceParts {
  readonly context: MemberContext;
  readonly hashTimes?: HashTimes | null;
  readonly runner: SliceRunner;
  /** What Status says; default `PROTOCOL_VERSION`. */
  readonly serverVersion?: string;
}

export function registerMaintenance(parts: MaintenanceParts): void {
  const service = new MaintenanceService(parts);
  const { context } = parts;
  const path = (method: string) => `/etcdserverpb.Maintenance/${method}`;
  registerUnary(context, {
    path: path('Status'),
    learnerServes: true,
    isForOperators: true,
    decode: StatusRequest.decode,
    run: (_request, reply) => service.status(reply),
  });
  registerUnary(context, {
    path: path('Alarm'),
    isForOperators: true,
    decode: AlarmRequest.decode,
    run: (r, reply) => service.alarm(r, reply),
  });
  registerUnary(context, {
    path: path('Hash'),
    isForOperators: true,
    decode: HashRequest.decode,
    run: (_request, reply) => service.hash(reply),
  });
  registerUnary(context, {
    path: path('HashKV'),
    isForOperators: true,
    decode: HashKVRequest.decode,
    run: (request, reply) => service.hashKv(request, reply),
  });
  registerUnary(context, {
    path: path('Defragment'),
    isForOperators: true,
    decode: DefragmentRequest.decode,
    run: (_request, reply) => service.defragment(reply),
  });
  registerUnary(context, {
    path: path('MoveLeader'),
    isForOperators: true,
    decode: MoveLeaderRequest.decode,
    run: (request, reply) => service.moveLeader(request, reply),
  });
  registerUnary(context, {
    path: path('Downgrade'),
    decode: DowngradeRequest.decode,
    run: (request, reply) => service.downgrade(request, reply),
  });
}

class MaintenanceService {
  private readonly context: MemberContext;
  private readonly runner: SliceRunner;
  private readonly serverVersion: string;
  private readonly hashTimes: HashTimes | null;
  /** Those who wait for the defragmentation that is under way; null where there is none. */
  private defragmenting: Reply[] | null = null;

  constructor({ context, hashTimes = null, runner, serverVersion = PROTOCOL_VERSION }: MaintenanceParts) {
    this.hashTimes = hashTimes;
    this.context = context;
    this.serverVersion = serverVersion;
    this.runner = runner;
  }

  status(reply: Reply): void {
    const { backend, memberId, replication, state } = this.context;
    const errors: string[] = replication.leader === U64_ZERO ? [ErrNoLeader.message] : [];
    for (const { memberID, alarm } of this.withOwn(state.alarms.list(AlarmType.NONE), AlarmType.NONE)) {
      errors.push(alarmText(memberID, alarm));
    }
    const response = StatusResponse.create({
      header: responseHeader(this.context),
      version: this.serverVersion,
      dbSize: backend.sizeBytes(),
      dbSizeInUse: backend.inUseBytes(),
      leader: replication.leader,
      raftIndex: replication.commitIndex,
      raftTerm: replication.term,
      raftAppliedIndex: replication.appliedIndex,
      isLearner: state.members.isLearner(memberId),
      errors,
    });
    reply.answer(StatusResponse.encode(response));
  }

  alarm(request: AlarmRequest, reply: Reply): void {
    // Beyond these etcd's members crash while applying, one and all.
    const known = request.action >= AlarmAction.GET && request.action <= AlarmAction.DEACTIVATE;
    if (!known || request.alarm < AlarmType.NONE || request.alarm > AlarmType.CORRUPT) {
      reply.fail(ErrUnknownMethod);
      return;
    }
    const refused = request.action === AlarmAction.GET ? null : this.context.access.rootError(reply.origin);
    if (refused !== null) {
      reply.fail(refused);
      return;
    }
    const body = AlarmRequest.encode(request);
    const waiter: ApiWaiter = {
      done: (result) => {
        const list = (result as AlarmResult).alarms;
        const alarms = request.action === AlarmAction.GET ? this.withOwn(list, request.alarm) : list;
        const response = AlarmResponse.create({ header: responseHeader(this.context), alarms });
        reply.answer(AlarmResponse.encode(response));
      },
      fail: (error) => reply.fail(error),
    };
    proposeRequest(this.context, RaftRequestField.Alarm, body, 0, body.length, waiter, reply.caller);
  }

  /**
   * The alarms with that of this member alone, where its data differs: it stands for itself only and not in the log, or it
   * would stop the whole cluster.
   */
  private withOwn(alarms: readonly AlarmMember[], type: number): AlarmMember[] {
    const { memberId, quarantine } = this.context;
    if (!quarantine.isAlarmed || type === AlarmType.NOSPACE) return [...alarms];
    if (alarms.some((one) => one.memberID === memberId && one.alarm === AlarmType.CORRUPT)) return [...alarms];
    return [...alarms, AlarmMember.create({ memberID: memberId, alarm: AlarmType.CORRUPT })];
  }

  hash(reply: Reply): void {
    const job = this.context.store.hashAll();
    this.hashInSlices(reply, job, this.hashTimes?.whole ?? null, () => {
      const response = HashResponse.create({ header: responseHeader(this.context), hash: job.hash });
      return HashResponse.encode(response);
    });
  }

  hashKv(request: HashKVRequest, reply: Reply): void {
    const result = this.context.store.hashKv(request.revision);
    if (result instanceof Error) {
      reply.fail(result);
      return;
    }
    const answer = () => {
      const { hash, compactRevision } = result;
      const header = responseHeader(this.context);
      return HashKVResponse.encode(HashKVResponse.create({ header, hash, compactRevision }));
    };
    // Anything else is a hash that a compaction has left.
    if (result instanceof KvHash) this.hashInSlices(reply, result, this.hashTimes?.atRevision ?? null, answer);
    else reply.answer(answer());
  }

  /** Nothing waits for it but those who asked; they share the one that is under way. */
  defragment(reply: Reply): void {
    if (this.defragmenting !== null) {
      this.defragmenting.push(reply);
      return;
    }
    this.defragmenting = [reply];
    const { backend, logger } = this.context;
    logger.log('info', 'starting defragment');
    const finish = (end: (each: Reply) => void) => {
      const replies = this.defragmenting ?? [];
      this.defragmenting = null;
      for (const each of replies) end(each);
    };
    backend.defragment().then(
      () => {
        logger.log('info', 'finished defragment');
        finish((each) => each.answer(DefragmentResponse.encode(new DefragmentResponse())));
      },
      (error: Error) => {
        logger.log('error', 'failed to defragment', { error: error.message });
        finish((each) => each.fail(new EtcdError(GrpcCode.Unknown, error.message)));
      },
    );
  }

  moveLeader({ targetID }: MoveLeaderRequest, reply: Reply): void {
    const { replication, state } = this.context;
    if (!replication.isLeader) {
      reply.fail(ErrNotLeader);
      return;
    }
    const target = state.members.get(targetID);
    if (target === undefined || target.isLearner) {
      reply.fail(ErrBadLeaderTransferee);
      return;
    }
    replication.moveLeader(targetID, {
      done: () => reply.answer(MoveLeaderResponse.encode(new MoveLeaderResponse())),
      fail: (error) => reply.fail(error),
    });
  }

  downgrade({ action, version }: DowngradeRequest, reply: Reply): void {
    switch (action) {
      case DowngradeAction.VALIDATE:
        this.withValidTarget(version, reply, () => this.answerDowngrade(reply));
        return;
      case DowngradeAction.ENABLE:
        this.withValidTarget(version, reply, (target) => this.setDowngrade(true, target, reply));
        return;
      case DowngradeAction.CANCEL:
        this.context.replication.readBarrier({
          done: () => {
            if (!this.context.state.version.downgradeEnabled) reply.fail(ErrNoInflightDowngrade);
            else this.setDowngrade(false, '', reply);
          },
          fail: (error) => reply.fail(error),
        });
        return;
      default:
        reply.fail(ErrUnknownMethod);
    }
  }

  /** The target must be one minor version below the cluster's, and no other downgrade may be under way. */
  private withValidTarget(version: string, reply: Reply, go: (target: string) => void): void {
    const target = parseVersion(version.split('.').length === 2 ? `${version}.0` : version);
    if (target === undefined) {
      reply.fail(ErrWrongDowngradeVersionFormat);
      return;
    }
    const check = () => {
      const { version: clusterVersion, downgradeEnabled } = this.context.state.version;
      const current = parseVersion(clusterVersion);
      if (current === undefined) reply.fail(ErrClusterVersionUnavailable);
      else if (target.major !== current.major || target.minor !== current.minor - 1) {
        reply.fail(ErrInvalidDowngradeTargetVersion);
      } else if (downgradeEnabled) reply.fail(ErrDowngradeInProcess);
      else go(`${target.major}.${target.minor}.0`);
    };
    this.context.replication.readBarrier({ done: check, fail: (error) => reply.fail(error) });
  }

  private setDowngrade(enabled: boolean, target: string, reply: Reply): void {
    const body = DowngradeInfoSetRequest.encode(DowngradeInfoSetRequest.create({ enabled, ver: target }));
    const waiter: ApiWaiter = {
      done: () => this.answerDowngrade(reply),
      fail: (error) => reply.fail(error),
    };
    proposeRequest(this.context, RaftRequestField.DowngradeInfoSet, body, 0, body.length, waiter, reply.caller);
  }

  private answerDowngrade(reply: Reply): void {
    const { version } = this.context.state.version;
    reply.answer(DowngradeResponse.encode(DowngradeResponse.create({ header: responseHeader(this.context), version })));
  }

  /** Goes on to the end also where the client left, for what the hash reads from is released there. */
  private hashInSlices(reply: Reply, hash: SlicedHash, times: Times | null, answer: () => Buffer): void {
    const { clock } = this.context.world;
    const startMs = clock.nowMs();
    const job: SlicedJob = {
      step() {
        if (!hash.slice(HASH_SLICE_BYTES)) return false;
        times?.observe((clock.nowMs() - startMs) / 1000);
        if (reply.isOpen) reply.answer(answer());
        return true;
      },
    };
    this.runner.add(job);
  }
}

interface SlicedHash {
  slice(bytes: number): boolean;
}

/** Both spaces are etcd's. */
function alarmText(memberId: string, alarm: number): string {
  return `memberID:${u64ToDecimal(memberId)} alarm:${ALARM_NAMES[alarm] ?? alarm} `;
}
