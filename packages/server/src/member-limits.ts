/** The limits of a member's configuration, as its parts take them. */
import type { RpcServer } from '@etsd/rpc';
import type { MemberConfig } from './config/config.ts';
import { makeLimits, REQUEST_OVERHEAD_BYTES } from './limits.ts';

export function memberLimits(config: MemberConfig): ReturnType<typeof makeLimits> {
  return makeLimits({
    maxRequestBytes: config.maxRequestBytes,
    maxTxnOps: config.maxTxnOps,
    quotaBackendBytes: config.quotaBackendBytes,
    electionMs: config.electionTimeoutMs,
  });
}

export function rpcLimits(config: MemberConfig, drainMs: number): Partial<RpcServer['limits']> {
  return {
    receiveMessageBytes: config.maxRequestBytes + REQUEST_OVERHEAD_BYTES,
    concurrentStreams: Math.min(config.maxConcurrentStreams, 16_384),
    pingMinMs: config.grpcKeepaliveMinTimeMs,
    keepaliveMs: config.grpcKeepaliveIntervalMs,
    keepaliveTimeoutMs: config.grpcKeepaliveTimeoutMs,
    drainMs,
    connections: config.guard.maxConnections,
    connectionsPerAddress: config.guard.maxConnectionsPerAddress,
  };
}
