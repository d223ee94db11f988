import type { U64 } from '@etsd/base';
import {
  AlarmAction,
  AlarmRequest,
  type AlarmResponse,
  AlarmType,
  DefragmentRequest,
  type DefragmentResponse,
  DowngradeAction,
  DowngradeRequest,
  type DowngradeResponse,
  HashKVRequest,
  type HashKVResponse,
  LogLevelRequest,
  type LogLevelResponse,
  MoveLeaderRequest,
  type MoveLeaderResponse,
  SnapshotRequest,
  type SnapshotResponse,
  StatusRequest,
  type StatusResponse,
  UsageRequest,
  type UsageResponse,
} from '@etsd/proto';
import type { Caller } from './caller.ts';
import { toId } from './checks.ts';
import * as methods from './methods.ts';
import type { CallOptions } from './options.ts';

/** Looking after the members. What concerns one of them is asked of `options.endpoint`. */
export class Maintenance {
  private readonly caller: Caller;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  status(options?: CallOptions): Promise<StatusResponse> {
    return this.caller.unary(methods.Status, StatusRequest.create(), options);
  }

  /** Checksum of keys and history up to `revision`, comparable between members; 0 for all. */
  hashKv(revision: number, options?: CallOptions): Promise<HashKVResponse> {
    return this.caller.unary(methods.HashKV, HashKVRequest.create({ revision }), options);
  }

  /** Gives the space back that deleted data held. The member may stand still meanwhile. */
  defragment(options?: CallOptions): Promise<DefragmentResponse> {
    return this.caller.unary(methods.Defragment, DefragmentRequest.create(), options);
  }

  alarms(options?: CallOptions): Promise<AlarmResponse> {
    const request = AlarmRequest.create({ action: AlarmAction.GET, alarm: AlarmType.NONE });
    return this.caller.unary(methods.Alarm, request, options);
  }

  disarm(memberID: U64, alarm: AlarmRequest['alarm'], options?: CallOptions): Promise<AlarmResponse> {
    const request = AlarmRequest.create({ action: AlarmAction.DEACTIVATE, memberID: toId(memberID), alarm });
    return this.caller.unary(methods.Alarm, request, options);
  }

  /** Has to be asked of the leader. */
  moveLeader(targetID: U64, options?: CallOptions): Promise<MoveLeaderResponse> {
    return this.caller.unary(methods.MoveLeader, MoveLeaderRequest.create({ targetID: toId(targetID) }), options);
  }

  downgrade(
    action: 'validate' | 'enable' | 'cancel',
    version: string,
    options?: CallOptions,
  ): Promise<DowngradeResponse> {
    const number = {
      validate: DowngradeAction.VALIDATE,
      enable: DowngradeAction.ENABLE,
      cancel: DowngradeAction.CANCEL,
    }[action];
    return this.caller.unary(methods.Downgrade, DowngradeRequest.create({ action: number, version }), options);
  }

  /** etsd only: space by prefix, and the busiest keys, users and addresses of the last minutes, at most `limit` of each. */
  usage(limit: number, options?: CallOptions): Promise<UsageResponse> {
    return this.caller.unary(methods.Usage, UsageRequest.create({ limit }), options);
  }

  /** etsd only: which lines the member logs; changes that first, unless `level` is empty. */
  logLevel(level: string, options?: CallOptions): Promise<LogLevelResponse> {
    return this.caller.unary(methods.LogLevel, LogLevelRequest.create({ level }), options);
  }

  /** The database of one member, piece by piece; the last 32 bytes are the SHA-256 of what came before. */
  async *snapshot(options?: CallOptions): AsyncGenerator<SnapshotResponse, void, undefined> {
    await using stream = await this.caller.stream(methods.Snapshot, options);
    stream.sendLast(SnapshotRequest.create());
    for (;;) {
      const piece = await stream.next();
      if (piece === null) return;
      yield piece;
    }
  }
}
