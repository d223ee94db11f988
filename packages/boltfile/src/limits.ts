/** What a page with its overflow may take up, in bytes: more than the largest value etcd can be told to accept. */
export const PAGE_BYTES_MAX = 512 * 1024 * 1024;

/** Branches above a leaf, and buckets inside buckets: far more than any file of etcd's has. */
export const DEPTH_MAX = 64;

/** Pages are read in windows: this much at first, twice as much each time the next page asked for is the next one. */
export const WINDOW_BYTES_MIN = 16 * 1024;
export const WINDOW_BYTES_MAX = 256 * 1024;
/** The same where their memory is used again, by who reads a whole file and nobody waits for. */
export const REUSED_WINDOW_BYTES_MAX = 1024 * 1024;

/** The page size of the files written, which is that of the machines etcd runs on. */
export const PAGE_SIZE = 4096;

/** Pages are handed to the disk in pieces of this size. */
export const CHUNK_BYTES = 256 * 1024;
