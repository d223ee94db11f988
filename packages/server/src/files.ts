/**
 * What is done with the files of members that do not run: snapshots, archives, damaged and foreign directories, keys. Apart
 * from the rest of the package, so that a tool does not have to wait for a whole member to be loaded.
 */
export { type Chain, readArchive } from './archive/chain.ts';
export type { Manifest } from './archive/manifest.ts';
export { formatTime, planRestore, type RestoreMoment, type RestorePlan } from './archive/plan.ts';
export {
  type ChainProof,
  proveChain,
  type RestoredMoment,
  replayPlan,
  restoreArchive,
} from './archive/restore-archive.ts';
export { outdated } from './archive/retention.ts';
export { parseInitialCluster } from './config/initial-cluster.ts';
export { type Endpoint, parseEndpoint } from './config/values.ts';
export { type KeySource, keySource } from './encryption/encryption-options.ts';
export { type FileState, type StoredFile, sealedFiles } from './encryption/files.ts';
export { type KeyReader, sourceName } from './encryption/member-keys.ts';
export { type RewriteOptions, type Rewritten, rewriteAll } from './encryption/rewrite.ts';
export { type Finding, judge, type RepairOptions, repairDirectory } from './rescue/doctor.ts';
export { type ClosableReader, type Migration, type MigrationOptions, migrateFromEtcd } from './rescue/from-etcd.ts';
export { type Inspection, type InspectOptions, inspectDirectory } from './rescue/inspect.ts';
export { planRecovery, type RecoverOptions, type RecoveryPlan, recoverMember } from './rescue/recover.ts';
export { migrateToEtcd } from './rescue/to-etcd.ts';
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
export { isZstd, writeNewFile, ZSTD_LEVEL, zstdPacked, zstdUnpacked } from './snapshots/zstd.ts';
