/** `etsdpb.Observe`: what a member tells of itself beside etcd's API, for `etsdctl top` and the HTTP API. */
import { LOG_LEVELS, type LogLevel } from '@etsd/base';
import { EtcdError, GrpcCode, LogLevelRequest, LogLevelResponse, UsageRequest, UsageResponse } from '@etsd/proto';
import type { MemberContext } from '../context.ts';
import type { PrefixTally } from '../space/prefix-tally.ts';
import type { SpaceWatch } from '../space/space-watch.ts';
import type { UsageMeter } from '../usage/usage-meter.ts';
import { registerUnary } from './unary.ts';

const LIMIT_USUAL = 20;
const LIMIT_MAX = 1000;

/** Which lines are written; may be changed while the member runs. */
export interface LevelSwitch {
  readonly level: LogLevel;
  setLevel(level: LogLevel): void;
}

export interface ObserveParts {
  readonly context: MemberContext;
  readonly usage: UsageMeter;
  readonly tally: PrefixTally;
  readonly space: Pick<SpaceWatch, 'usage'>;
  /** Null where whoever runs the member decides what is written. */
  readonly levels: LevelSwitch | null;
}

const ErrNoLevels = new EtcdError(GrpcCode.Unimplemented, 'etsd: the level of this log can not be changed');
const ErrNoSuchLevel = new EtcdError(GrpcCode.InvalidArgument, `etsd: log levels are ${LOG_LEVELS.join(', ')}`);

export function registerObserve(parts: ObserveParts): void {
  const { context, levels } = parts;
  registerUnary(context, {
    path: '/etsdpb.Observe/Usage',
    decode: (bytes, start, end) => UsageRequest.decode(bytes, start, end),
    learnerServes: true,
    isForOperators: true,
    run: ({ limit }, reply) =>
      reply.answer(UsageResponse.encode(usageOf(parts, Math.min(limit || LIMIT_USUAL, LIMIT_MAX)))),
  });
  registerUnary(context, {
    path: '/etsdpb.Observe/LogLevel',
    decode: (bytes, start, end) => LogLevelRequest.decode(bytes, start, end),
    learnerServes: true,
    isForOperators: true,
    run({ level }, reply) {
      const wanted = level.toLowerCase() as LogLevel;
      if (levels === null) reply.fail(ErrNoLevels);
      else if (level !== '' && !LOG_LEVELS.includes(wanted)) reply.fail(ErrNoSuchLevel);
      else {
        if (level !== '' && wanted !== levels.level) levels.setLevel(wanted);
        reply.answer(LogLevelResponse.encode(LogLevelResponse.create({ level: levels.level })));
      }
    },
  });
}

function usageOf({ context, space, tally, usage }: ObserveParts, limit: number): UsageResponse {
  const { config, memberId, replication, store } = context;
  const { usedBytes, quotaBytes } = space.usage();
  const { windowMs, requests, keys, users, peers } = usage.report(limit);
  return UsageResponse.create({
    memberId,
    name: config.name,
    isLeader: replication.isLeader,
    revision: store.revision,
    usedBytes,
    quotaBytes: Number.isFinite(quotaBytes) ? quotaBytes : 0,
    keys: tally.keys,
    bytes: tally.bytes,
    isCounting: !tally.isComplete,
    prefixes: tally.largest(limit),
    windowMs,
    requests,
    busyKeys: keys as UsageResponse['busyKeys'],
    busyUsers: users as UsageResponse['busyUsers'],
    busyPeers: peers as UsageResponse['busyPeers'],
  });
}
