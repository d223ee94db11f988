export { registerAuth } from './api/auth.ts';
export { type ClusterParts, registerCluster } from './api/cluster.ts';
export { type Health, registerHealth } from './api/health.ts';
export { type CompactionWatch, type KvParts, registerKv } from './api/kv.ts';
export { type MaintenanceParts, registerMaintenance } from './api/maintenance.ts';
export { SliceRunner } from './api/slice-runner.ts';
export type { BaseManifest, PieceManifest, Sample } from './archive/manifest.ts';
export { withBase } from './archive/replay.ts';
export type { CommandResult, CommandRunner } from './archive/sender.ts';
export { MemberRemovedError } from './bootstrap/removed.ts';
export { buildConfig, type MemberConfig, type RawConfig, readValue } from './config/config.ts';
export type { LogRotation } from './config/observe-config.ts';
export { findOption, nearestOption, OPTIONS, type Option, type OptionStatus } from './config/options.ts';
export { formatDuration, parseDuration } from './config/values.ts';
export type {
  ApiBackend,
  ApiCall,
  ApiConfig,
  ApiHandler,
  ApiReplication,
  ApiServer,
  ApiWaiter,
  ApiWorld,
  MemberContext,
  TimerHandle,
} from './context.ts';
export type { CpuProfile, HeapProfile, Profiler } from './debug/profiler.ts';
export type { LoopDelay } from './duties/loop-delay.ts';
export { type ClusterOptions, EmbeddedCluster, startCluster } from './embed/start-cluster.ts';
export { EmbeddedMember, type EmbedOptions, startMember } from './embed/start-member.ts';
export * from './files.ts';
export type { PeerEdge } from './http/peer-edge.ts';
export {
  DEFAULT_QUOTA_BYTES,
  type LimitOptions,
  type Limits,
  makeLimits,
  REQUEST_OVERHEAD_BYTES,
} from './limits.ts';
export { LineLogger, type LogSink } from './log-lines.ts';
export type { Member, MemberParts } from './member-parts.ts';
export type { BcryptEngine } from './passwords.ts';
export type { PeerLinks } from './peers.ts';
export type { ProcessFigures, RuntimeFigures, SystemFigures } from './process-metrics.ts';
export { LEASE_COST_BYTES, Quota } from './quota.ts';
export { runMember } from './run-member.ts';
export { MemberSnapshots, type MemberSnapshotsParts } from './snapshots/member-snapshots.ts';
export { type RecoverParts, recoverInstalledSnapshot } from './snapshots/recover.ts';
export { SnapshotMetrics } from './snapshots/snapshot-metrics.ts';
export {
  checkStoreFile,
  type Pause,
  readBoltIntoBackend,
  type WriteOptions,
  writeStoreToBolt,
} from './snapshots/store-file.ts';
export { type V2Membership, v2StoreJson } from './snapshots/v2-store.ts';
export { CLUSTER_VERSION, ETSD_VERSION, PROTOCOL_VERSION } from './version.ts';
