/** A segment is cut as soon as a save has filled it to here; the file may be longer by that save. etcd's figure. */
export const SEGMENT_BYTES = 64_000_000;

/** Segments kept although nothing needs them any more, the one being written included. etcd's default. */
export const SEGMENTS_MAX = 5;

/** How far ahead of the last record zeros are kept written, so that an append changes no block map (`segment.ts`). */
export const FILL_AHEAD_BYTES = 4 * 1024 * 1024;

/** Zeros are written in pieces of this size, so that no append waits long behind one. */
export const FILL_PIECE_BYTES = 256 * 1024;

/** What the two batch buffers start with. They grow to the largest batch seen … */
export const BATCH_BYTES_INITIAL = 256 * 1024;

/** … and above this they are given back after use. */
export const BATCH_BYTES_KEPT = 8 * 1024 * 1024;

/** What is read at once in replay. Entries handed out are views of such pieces, so it is also what one entry can pin. */
export const READ_BYTES = 1024 * 1024;

/** A sync slower than this is worth a warning, in milliseconds. etcd's figure. */
export const SLOW_SYNC_MS = 1000;

/** How long nothing is tried on a full disk, apart from saving what must be saved, in milliseconds. */
export const FULL_RETRY_MS = 1000;
