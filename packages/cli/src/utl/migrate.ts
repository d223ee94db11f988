/** Moving the data directory of a stopped member from etcd to etsd, and back. */
import { LmdbReader } from '@etsd/backend/lmdb';
import { u64ToHex } from '@etsd/base';
import { type ClosableReader, type Migration, migrateFromEtcd, migrateToEtcd } from '@etsd/server/files';
import type { Command } from '../ctl/command.ts';
import type { Context } from '../ctl/context.ts';
import { badArguments } from '../ctl/failure.ts';
import { flag } from '../ctl/flags.ts';
import { jsonObject, jsonText } from '../ctl/go-json.ts';
import type { View } from '../ctl/view.ts';
import { openStore, StderrLogger, world } from './files.ts';
import { rescueFailure } from './rescue-failure.ts';

const FLAGS = [
  flag('data-dir', 'string', '', 'data directory of the stopped member; nothing in it is changed'),
  flag('target-dir', 'string', '', 'directory to be made; must not exist, or be empty'),
  flag('wal-dir', 'string', '', 'directory of its log, where that is not below the data directory'),
  flag(
    'in-place',
    'bool',
    'false',
    'instead of --target-dir: the old one is kept as DIR.old, the new one gets its name',
  ),
];

type Way = typeof migrateFromEtcd;

async function openReader(path: string, pause: () => Promise<void>): Promise<ClosableReader> {
  const reader = new LmdbReader(path);
  try {
    await reader.check(pause);
    return reader;
  } catch (error) {
    reader.close();
    throw error;
  }
}

async function move(context: Context, way: Way, form: string): Promise<void> {
  const { flags } = context;
  context.prepare();
  const dataDir = flags.text('data-dir').replace(/\/+$/, '');
  const isInPlace = flags.flag('in-place');
  const given = flags.text('target-dir').replace(/\/+$/, '');
  if (dataDir === '') throw badArguments('--data-dir is missing', `write: ${form}`);
  if (isInPlace === (given !== '')) throw badArguments('give either --target-dir or --in-place', `write: ${form}`);
  const targetDir = isInPlace ? `${dataDir}.new` : given;
  try {
    const migration = await way({
      world,
      logger: new StderrLogger(context),
      dataDir,
      walDir: flags.text('wal-dir'),
      targetDir,
      openBackend: openStore,
      openReader,
    });
    if (isInPlace) {
      if ((await world.disk.stat(`${dataDir}.old`)) !== null) {
        throw badArguments(`${dataDir}.old exists`, `the result is whole: move ${targetDir} where you want it`);
      }
      await world.disk.rename(dataDir, `${dataDir}.old`);
      await world.disk.rename(targetDir, dataDir);
    }
    context.print(migrationView(migration, isInPlace ? dataDir : targetDir));
  } catch (error) {
    throw rescueFailure(error);
  } finally {
    await world.workers.close();
  }
}

function migrationView(migration: Migration, directory: string): View {
  const { memberId, clusterId, revision, records, hash, appliedIndex, lastIndex, term, members, notes } = migration;
  const lines = [
    `moved to ${directory}: member ${u64ToHex(memberId)} of cluster ${u64ToHex(clusterId)}, ${members} members, term ${term}`,
    `revision ${revision}, ${records} revisions of keys, hash over all of them ${hash.toString(16)}, equal on both sides`,
    `applied up to entry ${appliedIndex}, the log ends at ${lastIndex}`,
    ...notes.map((note) => `note: ${note}`),
  ];
  return {
    simple: () => `${lines.join('\n')}\n`,
    json: () =>
      jsonObject({
        directory: jsonText(directory),
        memberID: jsonText(u64ToHex(memberId)),
        clusterID: jsonText(u64ToHex(clusterId)),
        members: String(members),
        term: String(term),
        revision: String(revision),
        records: String(records),
        hash: String(hash),
        appliedIndex: String(appliedIndex),
        lastIndex: String(lastIndex),
        notes: `[${notes.map(jsonText).join(',')}]`,
      }),
  };
}

function wayCommand(name: string, summary: string, description: string, way: Way): Command {
  const form = `migrate ${name} --data-dir OLD --target-dir NEW`;
  return {
    name,
    summary,
    usage: '--data-dir OLD --target-dir NEW',
    description,
    examples: [
      ['', form],
      ['Under the same name, the old one kept as OLD.old', `migrate ${name} --data-dir OLD --in-place`],
    ],
    flags: FLAGS,
    run: (context) => move(context, way, form),
  };
}

export const MIGRATE_WAYS: readonly Command[] = [
  wayCommand(
    'from-etcd',
    'Turn the data directory of a stopped etcd into one of etsd',
    [
      'Of etcd 3.4 to 3.7. Everything stays what it is: keys with all revisions, leases, users, roles, members, ids, the log.',
      'Move every member of a stopped cluster so, or a single one that goes back among members that serve.',
    ].join('\n'),
    migrateFromEtcd,
  ),
  wayCommand(
    'to-etcd',
    'Turn the data directory of a stopped etsd into one of etcd',
    'Of etcd 3.5, which 3.4 and 3.6 read as well. The way back of from-etcd.',
    migrateToEtcd,
  ),
];
