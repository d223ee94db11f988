/** etsdutl and all its commands. */
import type { Command, Program } from '../ctl/command.ts';
import { VERSION_COMMAND } from '../ctl/commands/version.ts';
import type { Context } from '../ctl/context.ts';
import { badArguments, ExitCode, Failure } from '../ctl/failure.ts';
import { flag } from '../ctl/flags.ts';
import { COMPAT_FLAG } from '../ctl/global-flags.ts';
import { KEY_FLAGS } from '../ctl/key-flags.ts';
import { UTL_RESTORE_FLAGS } from '../ctl/restore-flags.ts';
import { generalCommands } from '../ctl/tree.ts';
import { ARCHIVE_COMMAND } from './archive.ts';
import { defragment, migrate } from './data-directory.ts';
import { DOCTOR } from './doctor.ts';
import { ENCRYPTION } from './encryption.ts';
import { DEFAULT_BUMP, fileArgument, hashSnapshot, restore, snapshotStatus } from './files.ts';
import { MIGRATE_WAYS } from './migrate.ts';
import { RESTORE_COMMAND } from './point-in-time.ts';
import { REBUILD } from './rebuild.ts';
import { RECOVER } from './recover.ts';
import { rescueFailure } from './rescue-failure.ts';
import { loadKeys } from './world.ts';

const GROUP = 'Files of a cluster';

function requireDataDir({ flags }: Context, form: string): void {
  if (flags.isGiven('data-dir')) return;
  throw new Failure(ExitCode.ERROR, 'required flag(s) "data-dir" not set', `write: ${form}`);
}

const snapshot: Command = {
  name: 'snapshot',
  summary: 'Saved snapshots',
  group: GROUP,
  commands: [
    {
      name: 'restore',
      summary: 'Make a data directory out of a snapshot',
      usage: 'FILE --data-dir DIRECTORY',
      description: [
        'The data is what was saved, the cluster is a new one: run it once for each of its members, with the same FILE,',
        '--initial-cluster and --initial-cluster-token. FILE may be packed with zstd.',
        'Unless told otherwise 1000000000 is added to the revision and everything before it is marked compacted: no client',
        'sees a revision twice, and watchers are told that history was replaced. --keep-revision turns that off.',
      ].join('\n'),
      examples: [
        ['A cluster of one', 'snapshot restore backup.db --data-dir data'],
        [
          'A member of three',
          'snapshot restore backup.db --data-dir m1.etcd --name m1 --initial-advertise-peer-urls http://10.0.0.1:2380 ' +
            '--initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380',
        ],
      ],
      flags: UTL_RESTORE_FLAGS,
      run(context) {
        requireDataDir(context, 'snapshot restore FILE --data-dir DIRECTORY');
        return restore(context, fileArgument(context, 'snapshot restore'), DEFAULT_BUMP);
      },
    },
    {
      name: 'save',
      summary: 'Done by a running member; see: etsdctl snapshot save',
      usage: 'FILE',
      run() {
        throw badArguments(
          'In order to download snapshot use: `etsdctl snapshot save ...`',
          'write: etsdctl snapshot save FILE',
        );
      },
    },
    {
      name: 'status',
      summary: 'Print checksum, revision and size of a snapshot',
      usage: 'FILE',
      description: 'In simple format: hash, revision, keys of all buckets, size. Reads and checks the whole file.',
      examples: [['As a table', 'snapshot status backup.db -w table']],
      async run(context) {
        context.prepare();
        context.print(await snapshotStatus(fileArgument(context, 'snapshot status'), context.style.compat));
      },
    },
  ],
};

const hashkv: Command = {
  name: 'hashkv',
  summary: 'Print the checksum that members compare, out of a snapshot',
  usage: 'FILE',
  group: GROUP,
  description: 'In simple format: hash, revision up to which it was computed, compacted revision.',
  examples: [['To compare with: etsdctl endpoint hashkv --rev=7', 'hashkv backup.db --rev=7']],
  flags: [flag('rev', 'int', '0', 'only up to this revision; 0 for all')],
  async run(context) {
    context.prepare();
    context.print(await hashSnapshot(fileArgument(context, 'hashkv'), context.flags.number('rev')));
  },
};

const defrag: Command = {
  name: 'defrag',
  summary: 'Give back the space that deleted data held',
  usage: '--data-dir DIRECTORY',
  group: GROUP,
  description: 'For a data directory that no member uses; a running member is asked with: etsdctl defrag.',
  examples: [['', 'defrag --data-dir m1.etcd']],
  flags: [flag('data-dir', 'string', '', 'data directory of a member that is stopped')],
  async run(context) {
    requireDataDir(context, 'defrag --data-dir DIRECTORY');
    await defragment(context, context.flags.text('data-dir'));
  },
};

const migrateCommand: Command = {
  name: 'migrate',
  summary: 'Move a data directory from or to etcd; note for which version a store is laid out',
  usage: '--data-dir DIRECTORY --target-version X.Y',
  group: GROUP,
  commands: MIGRATE_WAYS,
  description: [
    'Snapshots of the member then say so to the tools of that version. The data is the same in both: 3.6 reads what 3.5',
    'wrote, and etsd reads either.',
  ].join('\n'),
  examples: [['Before its snapshots go to etcd 3.6', 'migrate --data-dir m1.etcd --target-version 3.6']],
  flags: [
    flag('data-dir', 'string', '', 'data directory of a member that is stopped'),
    flag('force', 'bool', 'false', 'accepted; nothing here has to be forced'),
    flag('target-version', 'string', '', 'the version, as X.Y'),
  ],
  async run(context) {
    const form = 'write: migrate --data-dir DIRECTORY --target-version 3.6';
    const missing = ['data-dir', 'target-version'].filter((name) => !context.flags.isGiven(name));
    if (missing.length > 0) {
      const names = missing.map((name) => `"${name}"`).join(', ');
      throw new Failure(ExitCode.ERROR, `required flag(s) ${names} not set`, form);
    }
    await migrate(context, context.flags.text('data-dir'), context.flags.text('target-version'));
  },
};

/** The command and those below it, with the keys that the flags name at hand. */
function withKeys(command: Command): Command {
  const { run, commands } = command;
  const below = commands === undefined ? {} : { commands: commands.map(withKeys) };
  if (run === undefined) return { ...command, ...below };
  return {
    ...command,
    ...below,
    async run(context) {
      try {
        await loadKeys(context.flags);
      } catch (error) {
        throw rescueFailure(error);
      }
      await run(context);
    },
  };
}

export const ETSDUTL: Program = {
  name: 'etsdutl',
  summary: 'etsdutl works on files of a cluster: snapshots, and data directories that no member uses.',
  commands: [
    ...[
      ARCHIVE_COMMAND,
      defrag,
      DOCTOR,
      ENCRYPTION,
      hashkv,
      migrateCommand,
      REBUILD,
      RECOVER,
      RESTORE_COMMAND,
      snapshot,
    ].map(withKeys),
    ...generalCommands(() => ETSDUTL),
    VERSION_COMMAND,
  ],
  globalFlags: [
    COMPAT_FLAG,
    flag('write-out', 'string', 'simple', 'format of results: simple, json, fields, protobuf or table', 'w'),
    ...KEY_FLAGS,
  ],
  groups: [GROUP, 'Other'],
  examples: ['snapshot status backup.db', 'snapshot restore backup.db --data-dir data'],
};
