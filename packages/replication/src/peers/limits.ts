/** Largest message accepted from a peer, in bytes; its memory is taken as the bytes come, not as they are announced. */
export const FRAME_BYTES_MAX = 128 * 1024 * 1024;

/** Entries of one append, at most. An append carries a megabyte of them, or one that is larger. */
export const FRAME_ENTRIES_MAX = 1 << 20;

/** Bytes that wait for one stream of one peer; what comes beyond is dropped and reported. */
export const STREAM_QUEUE_BYTES_MAX = 32 * 1024 * 1024;

/** Bytes of a stream given to the kernel's care at a time, so that progress of a slow link can be seen. */
export const STREAM_WINDOW_BYTES = 1024 * 1024;

/** Posts to one peer under way at once. etcd's number. */
export const PIPELINE_POSTS_MAX = 4;

/** Messages that wait for a post, in number (etcd's) and bytes. */
export const PIPELINE_QUEUE_MAX = 64;
export const PIPELINE_QUEUE_BYTES_MAX = 16 * 1024 * 1024;

/** A stream on which nothing came, or nothing could be written, for so long is given up, in milliseconds. etcd's number. */
export const STREAM_SILENCE_MS = 5000;

/** A stream on which nothing was sent for so long sends a sign of life, in milliseconds. etcd's number. */
export const HEARTBEAT_MS = 5000 / 3;

/** How often streams are looked at, in milliseconds. */
export const SWEEP_MS = 500;

/** Two looks further apart than this, in milliseconds, mean that this process was held up. */
export const PAUSE_MS = 2000;

/** Wait before a stream is dialled again, in milliseconds; doubled up to the second. */
export const REDIAL_MIN_MS = 100;
export const REDIAL_MAX_MS = 1000;

/** How long a post may take, in milliseconds. */
export const POST_TIMEOUT_MS = 5000;

/** Bytes of posted messages that may be on their way in at once, from all senders. */
export const POSTS_BYTES_MAX = 256 * 1024 * 1024;

/** How long the body of a posted message may take, in milliseconds. */
export const POST_BODY_MS = 30_000;

/** Beside the election timeout, how long a connection may take to be made, in milliseconds. etcd's number. */
export const DIAL_TIMEOUT_MS = 1000;

/** Time between two probes of a peer, in milliseconds. etcd's number. */
export const PROBE_INTERVAL_MS = 4000;

/** Difference of two clocks that is worth a warning, in milliseconds. etcd's number. */
export const CLOCK_DIFFERENCE_MS = 1000;

/** Time between two warnings of the prober about the same peer, in milliseconds. etcd's number. */
export const PROBE_WARNING_MS = 30_000;

/** Answer bodies read from a peer, in bytes. */
export const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** Senders that are no members yet and are answered all the same. */
export const REMOTES_MAX = 64;

/** A snapshot that made no progress for so long is given up, in milliseconds. */
export const SNAPSHOT_SILENCE_MS = 30_000;

/** How long the receiver of a whole snapshot may take to answer: it is on its disk then. In milliseconds. */
export const SNAPSHOT_ANSWER_MS = 120_000;

/** Snapshots received at once. */
export const SNAPSHOT_RECEIVES_MAX = 2;
