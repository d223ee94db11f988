import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import type { Command } from '../command.ts';
import { type Context, failureOf, reasonOf } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { formatDuration, formatSize } from '../go.ts';
import { Progress } from '../progress.ts';
import { CTL_RESTORE_FLAGS } from '../restore-flags.ts';

const HASH_BYTES = 32;

/** Gives the version of the server, where it tells. */
async function download(context: Context, path: string): Promise<string> {
  const client = await context.client();
  const endpoints = client.endpoints;
  if (endpoints.length !== 1) {
    const text = `snapshot must be requested to one selected node, not multiple [${endpoints.join(' ')}]`;
    throw new Failure(ExitCode.INTERRUPTED, text, 'name one with --endpoints');
  }
  const part = `${path}.part`;
  const startMs = performance.now();
  let version = '';
  const progress = new Progress(context.surroundings.stderr, 'snapshot');
  const file = await open(part, 'w', 0o600);
  try {
    const hash = createHash('sha256');
    let tail = Buffer.alloc(0);
    let total = 0;
    for await (const piece of client.maintenance.snapshot()) {
      await file.write(piece.blob);
      total += piece.blob.length;
      version = piece.version === '' ? version : piece.version;
      // All but the last 32 bytes so far is content.
      const held = Buffer.concat([tail, piece.blob]);
      const end = Math.max(0, held.length - HASH_BYTES);
      hash.update(held.subarray(0, end));
      tail = Buffer.from(held.subarray(end));
      progress.show(total, total + piece.remainingBytes);
    }
    await file.sync();
    if (total % 512 !== HASH_BYTES) {
      throw new Failure(ExitCode.INTERRUPTED, `sha256 checksum not found [bytes: ${total}]`);
    }
    if (!hash.digest().equals(tail)) {
      throw new Failure(ExitCode.INTERRUPTED, 'the snapshot is not what the server sent: its checksum differs');
    }
    progress.done(`fetched ${formatSize(total)} in ${formatDuration(performance.now() - startMs)}`);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await rename(part, path);
  return version;
}

const save: Command = {
  name: 'save',
  summary: 'Save the database of one member to a file',
  usage: 'FILE',
  description: 'The file ends with a checksum, which a restore looks at.',
  examples: [['', 'snapshot save backup.db --endpoints=m1:2379']],
  async run(context) {
    if (context.args.length !== 1)
      throw badArguments('snapshot save expects one argument', 'write: snapshot save FILE');
    const path = context.args[0] as string;
    let version = '';
    try {
      version = await download(context, path);
    } catch (error) {
      if (error instanceof Failure) throw error;
      if (error instanceof Error && 'syscall' in error) {
        throw new Failure(ExitCode.INTERRUPTED, `could not open ${path}.part (open ${path}.part: ${reasonOf(error)})`);
      }
      throw failureOf(error, ExitCode.INTERRUPTED);
    }
    context.line(`Snapshot saved at ${path}`);
    if (version !== '' && context.style.compat === '3.6') context.line(`Server version ${version}`);
  },
};

const statusMoved: Command = {
  name: 'status',
  summary: 'Print checksum, revision and size of a snapshot; now: etsdutl snapshot status',
  usage: 'FILE',
  async run(context) {
    const { fileArgument, snapshotStatus } = await import('../../utl/files.ts');
    context.warn('Deprecated: Use `etsdutl snapshot status` instead.\n');
    context.prepare();
    context.print(await snapshotStatus(fileArgument(context, 'snapshot status'), context.style.compat));
  },
};

const restoreMoved: Command = {
  name: 'restore',
  summary: 'Make a data directory out of a snapshot; now: etsdutl snapshot restore',
  usage: 'FILE --data-dir DIRECTORY',
  flags: CTL_RESTORE_FLAGS,
  async run(context) {
    const { fileArgument, restore } = await import('../../utl/files.ts');
    context.warn('Deprecated: Use `etsdutl snapshot restore` instead.\n');
    await restore(context, fileArgument(context, 'snapshot restore'));
  },
};

export const SNAPSHOT_COMMAND: Command = {
  name: 'snapshot',
  summary: 'Copies of the database',
  group: 'Cluster maintenance',
  commands: [restoreMoved, save, statusMoved],
};
