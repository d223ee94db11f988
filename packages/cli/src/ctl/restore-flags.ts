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
export const UTL_RESTORE_FLAGS: readonly Flag[] = [
  ...restoreFlags('10737418240'),
  flag('keep-revision', 'bool', 'false', 'go on at the saved revision; without it 1000000000 is added (not in etcd)'),
];

const OF_FILES = ['initial-memory-map-size', 'skip-hash-check'];

/** Of `restore`, out of an archive: the same, but for what only files have. */
export const ARCHIVE_RESTORE_FLAGS: readonly Flag[] = [
  flag('archive-dir', 'string', '', 'the archive, as the server was given it'),
  flag('cluster-id', 'string', '', 'of which cluster, where the archive has several (as `archive list` shows it)'),
  flag('member-id', 'string', '', 'from the log of which member; default the one that reaches furthest'),
  flag('to-revision', 'uint', '0', 'the state that this revision left; default the latest'),
  flag('to-time', 'string', '', 'the state of this moment: 2026-11-21T14:03:00Z, or 15m for so long ago'),
  ...UTL_RESTORE_FLAGS.filter(({ name }) => !OF_FILES.includes(name)),
];
