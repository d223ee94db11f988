export { ChangeDigest } from './change-digest.ts';
export { ChangeList, type ChangeListener } from './changes.ts';
export { RangeCursor, type RecordSink } from './cursor.ts';
export { EventSelection } from './event.ts';
export { KvHash, type KvHashJob, type KvHashResult, StoreHash } from './hash.ts';
export { KeyIndex } from './key-index.ts';
export {
  COMPACT_SLICE_RECORDS,
  HASH_SLICE_BYTES,
  RANGE_AT_ONCE_KEYS,
  RECORD_CACHE_BYTES,
  RESTORE_SLICE_RECORDS,
} from './limits.ts';
export { type RangeOptions, type RangeResult, WHOLE_RANGE } from './range.ts';
export { Restore } from './restore.ts';
export { isRevisionKey, isTombstoneKey, revisionKey, revisionMain, revisionSub } from './revision.ts';
export { FoundKey, type SizeListener, Store, type StoreOptions } from './store.ts';
export {
  type PublishedChanges,
  SLICE_COST,
  WatchHub,
  type WatchHubOptions,
  type WatchSource,
} from './watch-hub.ts';
export { Watcher, type WatchRequest, type WatchSink, WatchStream } from './watch-stream.ts';
