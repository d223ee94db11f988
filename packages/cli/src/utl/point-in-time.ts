/** `etsdutl restore`: a data directory of a past moment, out of an archive. */
import { formatTime, planRestore, type RestoreMoment, readArchive, restoreArchive } from '@etsd/server/files';
import type { Command } from '../ctl/command.ts';
import type { Context } from '../ctl/context.ts';
import { badArguments } from '../ctl/failure.ts';
import { parseDuration } from '../ctl/go.ts';
import { ARCHIVE_RESTORE_FLAGS } from '../ctl/restore-flags.ts';
import { bumpOf, DEFAULT_BUMP, fileFailure, sayBump, targetOf } from './files.ts';
import { world } from './world.ts';

const FORM = 'write: restore --archive-dir DIRECTORY --data-dir DIRECTORY [--to-revision N | --to-time T]';

function momentOf({ flags, args }: Context): RestoreMoment {
  if (args.length > 1 || (args.length === 1 && args[0] !== 'latest')) {
    throw badArguments('restore takes no argument but "latest"', FORM);
  }
  const given = [flags.isGiven('to-revision'), flags.isGiven('to-time'), args.length > 0];
  if (given.filter(Boolean).length > 1) {
    throw badArguments('--to-revision, --to-time and latest cannot be given together', FORM);
  }
  if (flags.isGiven('to-revision')) {
    const revision = flags.number('to-revision');
    if (revision > 0) return { kind: 'revision', revision };
    throw badArguments('--to-revision must be above zero', FORM);
  }
  return flags.isGiven('to-time') ? { kind: 'time', timeMs: parseMoment(flags.text('to-time')) } : { kind: 'latest' };
}

const MOMENT = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;

/** A moment with its time zone, or how long ago it was; in milliseconds of the wall clock. */
export function parseMoment(text: string, nowMs: number = world.clock.wallMs()): number {
  const ago = parseDuration(text.replace(/^-/, ''));
  if (ago !== undefined && text !== '0') return nowMs - ago;
  const moment = MOMENT.test(text) ? Date.parse(text.replace(' ', 'T')) : Number.NaN;
  if (!Number.isNaN(moment)) return moment;
  throw badArguments(
    `--to-time "${text}" is no moment`,
    'write 2026-11-21T14:03:00Z, with the time zone, or a duration such as 15m for so long ago',
  );
}

/** Refuses a command line that lacks a flag. */
export function requireFlags({ flags }: Context, names: readonly string[], form: string): void {
  const missing = names.filter((name) => flags.text(name) === '');
  if (missing.length === 0) return;
  throw badArguments(`required flag(s) ${missing.map((name) => `"${name}"`).join(', ')} not set`, form);
}

async function restore(context: Context): Promise<void> {
  const { flags } = context;
  requireFlags(context, ['archive-dir', 'data-dir'], FORM);
  const moment = momentOf(context);
  const directory = flags.text('archive-dir');
  try {
    const target = targetOf(context, bumpOf(flags, DEFAULT_BUMP));
    const chains = await readArchive(world.disk, directory);
    for (const { message } of chains.flatMap(({ problems }) => problems)) target.logger.log('warn', message);
    const choice = { clusterId: flags.text('cluster-id'), memberId: flags.text('member-id') };
    const plan = planRestore(chains, moment, choice);
    const { base, chain } = plan;
    target.logger.log('info', 'restoring from the archive', {
      archive: chain.path,
      base: base.name,
      'base-revision': base.at.revision,
      'base-time': formatTime(base.at.timeMs),
      'data-dir': target.dataDir,
    });
    const { revision, index, entries } = await restoreArchive(plan, target);
    target.logger.log('info', 'restored from the archive', { revision, index, 'entries-applied': entries });
    sayBump(target);
    context.line(`Restored revision ${revision} at ${target.dataDir}`);
  } catch (error) {
    throw fileFailure(error, directory, 'open');
  } finally {
    await world.workers.close();
  }
}

export const RESTORE_COMMAND: Command = {
  name: 'restore',
  summary: 'Make a data directory out of an archive, as of any moment in it',
  usage: '--archive-dir DIRECTORY --data-dir DIRECTORY [--to-revision N | --to-time T | latest]',
  group: 'Files of a cluster',
  description: [
    'Takes the last copy of the store before that moment and applies the log behind it. The cluster is a new one: run it',
    'once for each of its members, with the same moment, --initial-cluster and --initial-cluster-token.',
    'Unless told otherwise 1000000000 is added to the revision and everything before it is marked compacted, as by',
    '`snapshot restore`; --keep-revision turns that off. --data-dir is never overwritten.',
  ].join('\n'),
  examples: [
    ['Everything that is archived', 'restore --archive-dir /backup/etsd --data-dir data'],
    ['Right before the accident', 'restore --archive-dir /backup/etsd --data-dir data --to-time 2026-11-21T14:03:00Z'],
    ['As one revision left it', 'restore --archive-dir /backup/etsd --data-dir data --to-revision 4711'],
  ],
  flags: ARCHIVE_RESTORE_FLAGS,
  run: restore,
};
