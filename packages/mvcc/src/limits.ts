/** Bounds of the store, in one place. Times are what the slices cost on a machine of 2020. */

/** Bytes of recently written or read records kept in memory, besides what is not yet in the file. */
export const RECORD_CACHE_BYTES = 64 * 1024 * 1024;
/** Records are put into buffers of this size; larger ones get a buffer of their own. */
export const SLAB_BYTES = 256 * 1024;

/** A slice of restoring, in records: about three milliseconds. */
export const RESTORE_SLICE_RECORDS = 1000;
/** A slice of compacting, in records removed: about half a millisecond. */
export const COMPACT_SLICE_RECORDS = 250;
/** A slice of hashing, in bytes, and what they are worth of everything else: about a quarter of a millisecond. */
export const HASH_SLICE_BYTES = 128 * 1024;
/** A range up to this many keys is answered in one go; a larger one is for a cursor. */
export const RANGE_AT_ONCE_KEYS = 2000;
/** Hashes of the last compactions that are remembered, as many as etcd does. */
export const COMPACTION_HASHES_MAX = 10;
/** Bytes hashed for each record of a compaction's budget. */
export const HASH_BYTES_PER_RECORD = 2048;
