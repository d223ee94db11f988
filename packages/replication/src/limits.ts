/** Entries committed and not yet applied above which proposals are refused. etcd's number. */
export const APPLY_GAP_MAX = 5000;

/** Data of proposals waiting for their result, in bytes; above it proposals are refused. */
export const PROPOSAL_BYTES_MAX = 256 * 1024 * 1024;

/** What a waiting proposal counts beside its data, in bytes: entry, slot and whatever waits for it. */
export const PROPOSAL_OVERHEAD_BYTES = 256;

/** Entries kept in memory behind a snapshot record, so that a slow follower needs no snapshot. etcd's number. */
export const CATCH_UP_ENTRIES = 5000;

/** Their data, in bytes, at most: large values must not keep gigabytes alive. */
export const CATCH_UP_BYTES = 64 * 1024 * 1024;

/** Data of entries kept in memory for followers that are still being served with them, in bytes. */
export const HELD_BYTES = 256 * 1024 * 1024;

/** Entries kept in memory for whatever reason, in number: looking through them takes some milliseconds. */
export const HELD_ENTRIES = 500_000;

/**
 * How much longer than it works a follower that lacks a lot rests, while others write, and for how long at most at a time,
 * in milliseconds.
 */
export const CATCH_UP_REST_SHARE = 5;
export const CATCH_UP_REST_MAX_MS = 30;

/** Entries a millisecond from which on nobody is held back: pieces with rests would not keep up with the writers. */
export const CATCH_UP_GROWTH_MAX = 5;

/** A follower that answers a piece within this time, in milliseconds, is near; one that takes longer gets larger ones. */
export const CATCH_UP_NEAR_MS = 5;

/** Applied entries after which the log is cut. etcd 3.6's number. Flag `snapshot-count`. */
export const SNAPSHOT_COUNT = 10_000;

/** Applied data since the last cut, in bytes, that cuts it sooner. */
export const SNAPSHOT_BYTES = 256 * 1024 * 1024;

/** How long one slice of applying may hold the event loop, in milliseconds. */
export const APPLY_SLICE_MS = 5;

/**
 * For how long a follower on which nobody waits may not hear of what is committed, in milliseconds, and from how many
 * writes a second on. Readers of serializable ranges and watchers there see it that much later.
 */
export const COMMIT_DELAY_MS = 1;
export const COMMIT_DELAY_WRITES_PER_SECOND = 200;

/** What a request may take beside two election timeouts, in milliseconds. etcd's number. */
export const REQUEST_TIMEOUT_MS = 5000;

/** After how long a read round without an answer is asked again, in milliseconds. etcd's number. */
export const READ_RETRY_MS = 500;

/** For how long after a start the wait for an election may be shortened, in milliseconds. etcd's number. */
export const TICK_ADVANCE_WAIT_MS = 5000;
