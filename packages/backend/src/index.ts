export type {
  Backend,
  BackendObserver,
  BackendReader,
  BackendSnapshot,
  FrozenFile,
  RecordCursor,
  Visit,
} from './backend.ts';
export {
  BUCKETS,
  type Bucket,
  FORMAT_VERSION,
  META_CONF_STATE,
  META_CONSISTENT_INDEX,
  META_FINISHED_COMPACT_REV,
  META_SCHEDULED_COMPACT_REV,
  META_STORAGE_VERSION,
  META_TERM,
  STORED_BUCKETS,
} from './buckets.ts';
export { MemoryBackend } from './memory.ts';
export { Slab } from './slab.ts';
