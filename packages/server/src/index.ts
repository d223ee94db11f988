export { registerAuth } from './api/auth.ts';
export { type ClusterParts, registerCluster } from './api/cluster.ts';
export { type Health, registerHealth } from './api/health.ts';
export { type CompactionWatch, type KvParts, registerKv } from './api/kv.ts';
export { type MaintenanceParts, registerMaintenance } from './api/maintenance.ts';
export { SliceRunner } from './api/slice-runner.ts';
export { type Chain, readArchive } from './archive/chain.ts';
export type { BaseManifest, Manifest, PieceManifest, Sample } from './archive/manifest.ts';
export { formatTime, planRestore, type RestoreMoment, type RestorePlan } from './archive/plan.ts';
export { withBase } from './archive/replay.ts';
export {
  type ChainProof,
  proveChain,
  type RestoredMoment,
  replayPlan,
  restoreArchive,
} from './archive/restore-archive.ts';
export { outdated } from './archive/retention.ts';
export type { CommandResult, CommandRunner } from './archive/sender.ts';
export { MemberRemovedError } from './bootstrap/removed.ts';
export { buildConfig, type MemberConfig, type RawConfig, readValue } from './config/config.ts';
export { parseInitialCluster } from './config/initial-cluster.ts';
export type { LogRotation } from './config/observe-config.ts';
export { findOption, nearestOption, OPTIONS, type Option, type OptionStatus } from './config/options.ts';
export { type Endpoint, formatDuration, parseDuration, parseEndpoint } from './config/values.ts';
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
export { type KeySource, keySource } from './encryption/encryption-options.ts';
export { type FileState, type StoredFile, sealedFiles } from './encryption/files.ts';
export { type KeyReader, sourceName } from './encryption/member-keys.ts';
export { type RewriteOptions, type Rewritten, rewriteAll } from './encryption/rewrite.ts';
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
export { type Finding, judge, type RepairOptions, repairDirectory } from './rescue/doctor.ts';
export { type ClosableReader, type Migration, type MigrationOptions, migrateFromEtcd } from './rescue/from-etcd.ts';
export { type Inspection, type InspectOptions, inspectDirectory } from './rescue/inspect.ts';
export { planRecovery, type RecoverOptions, type RecoveryPlan, recoverMember } from './rescue/recover.ts';
export { migrateToEtcd } from './rescue/to-etcd.ts';
export { runMember } from './run-member.ts';
export { MemberSnapshots, type MemberSnapshotsParts } from './snapshots/member-snapshots.ts';
export { type RecoverParts, recoverInstalledSnapshot } from './snapshots/recover.ts';
export {
  type BulkStore,
  loadStoreFile,
  type RestoreOptions,
  type RestoreTarget,
  restoreSnapshot,
} from './snapshots/restore.ts';
export {
  ChecksumError,
  checkSavedSnapshot,
  type SavedSnapshot,
  type SnapshotSummary,
  summariseSnapshot,
} from './snapshots/saved-file.ts';
export { SnapshotMetrics } from './snapshots/snapshot-metrics.ts';
export {
  checkStoreFile,
  type Pause,
  readBoltIntoBackend,
  type WriteOptions,
  writeStoreToBolt,
} from './snapshots/store-file.ts';
export { type V2Membership, v2StoreJson } from './snapshots/v2-store.ts';
export { isZstd, writeNewFile, ZSTD_LEVEL, zstdPacked, zstdUnpacked } from './snapshots/zstd.ts';
export { CLUSTER_VERSION, ETSD_VERSION, PROTOCOL_VERSION } from './version.ts';
