/**
 * The buckets of the store, under etcd's names: what lies in them is byte for byte what etcd keeps in its own, so that
 * hashes over both are equal. Iteration over all of them goes in this order, which is the order of their names as bytes.
 */
export const BUCKETS = [
  'alarm',
  'auth',
  'authRoles',
  'authUsers',
  'cluster',
  'key',
  'lease',
  'members',
  'members_removed',
  'meta',
] as const;

/**
 * All that an engine keeps: behind etcd's one of our own, for the key space of etcd 2, which etcd keeps in its snapshot
 * files instead. It goes into no hash and into no file of etcd's format.
 */
export const STORED_BUCKETS = [...BUCKETS, 'v2'] as const;

export type Bucket = (typeof STORED_BUCKETS)[number];

/** Keys of the bucket `meta`. */
export const META_CONSISTENT_INDEX: Buffer = Buffer.from('consistent_index');
export const META_TERM: Buffer = Buffer.from('term');
export const META_CONF_STATE: Buffer = Buffer.from('confState');
export const META_SCHEDULED_COMPACT_REV: Buffer = Buffer.from('scheduledCompactRev');
export const META_FINISHED_COMPACT_REV: Buffer = Buffer.from('finishedCompactRev');
export const META_STORAGE_VERSION: Buffer = Buffer.from('storageVersion');

/** Version of the way an engine lays the buckets out in its file. A directory that says otherwise is refused. */
export const FORMAT_VERSION = '1';

/** The place of a bucket in `STORED_BUCKETS`. */
export function bucketIndex(bucket: Bucket): number {
  switch (bucket) {
    case 'key':
      return 5;
    case 'meta':
      return 9;
    case 'alarm':
      return 0;
    case 'auth':
      return 1;
    case 'authRoles':
      return 2;
    case 'authUsers':
      return 3;
    case 'cluster':
      return 4;
    case 'lease':
      return 6;
    case 'members':
      return 7;
    case 'members_removed':
      return 8;
    case 'v2':
      return 10;
  }
}
