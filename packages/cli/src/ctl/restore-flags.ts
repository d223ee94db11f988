import { type Flag, flag } from './flags.ts';

/** Of `snapshot restore`: etcd's two tools differ in one default. */
function restoreFlags(memoryMapBytes: string): readonly Flag[] {
  return [
    flag('bump-revision', 'uint', '0', 'add so much to the revision, so that no client sees one twice'),
    flag('data-dir', 'string', '', 'directory to make; default NAME.etcd'),
    flag('initial-advertise-peer-urls', 'list', 'http://localhost:2380', 'where the other members will reach this one'),
    flag('initial-cluster', 'string', 'default=http://localhost:2380', 'all members of the new cluster: NAME=URL,…'),
    flag('initial-cluster-token', 'string', 'etcd-cluster', 'told apart from other clusters by this'),
    flag('initial-memory-map-size', 'uint', memoryMapBytes, 'accepted; has no effect here'),
    flag('mark-compacted', 'bool', 'false', 'watchers and readers of old revisions are told so (with --bump-revision)'),
    flag('name', 'string', 'default', 'name of this member'),
    flag('skip-hash-check', 'bool', 'false', 'the file is a copy out of a data directory, which has no checksum'),
    flag('wal-dir', 'string', '', 'directory of the log; default below the data directory'),
  ];
}

export const CTL_RESTORE_FLAGS = restoreFlags('0');
export const UTL_RESTORE_FLAGS = restoreFlags('10737418240');
