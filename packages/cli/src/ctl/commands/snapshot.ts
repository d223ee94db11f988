import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EtcdClient } from '@etsd/client';
import { BackgroundFile } from '../background-file.ts';
import type { Command } from '../command.ts';
import { type Context, failureOf, reasonOf } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { flag } from '../flags.ts';
import { formatDuration, formatSize } from '../go.ts';
import { KEY_FLAGS } from '../key-flags.ts';
import { Progress } from '../progress.ts';
import { CTL_RESTORE_FLAGS } from '../restore-flags.ts';

const HASH_BYTES = 32;

/** A snapshot as it comes in. */
class Download {
  /** Of the server, where it tells. */
  version = '';
  total = 0;
  private readonly client: EtcdClient;
  private readonly progress: Progress;

  constructor(client: EtcdClient, progress: Progress) {
    this.client = client;
    this.progress = progress;
  }

  /** Its bytes, with the checksum at their end, which is checked. */
  async *pieces(): AsyncGenerator<Buffer> {
    const hash = createHash('sha256');
    let tail = Buffer.alloc(0);
    for await (const { blob, remainingBytes, version } of this.client.maintenance.snapshot()) {
      this.total += blob.length;
      if (version !== '') this.version = version;
      // All but the last 32 bytes so far is content.
      const held = blob.length < HASH_BYTES ? Buffer.concat([tail, blob]) : blob;
      if (held === blob) hash.update(tail);
      const end = Math.max(0, held.length - HASH_BYTES);
      hash.update(held.subarray(0, end));
      tail = Buffer.from(held.subarray(end));
      this.progress.show(this.total, this.total + remainingBytes);
      yield blob;
    }
    if (this.total % 512 !== HASH_BYTES) {
      throw new Failure(ExitCode.INTERRUPTED, `sha256 checksum not found [bytes: ${this.total}]`);
    }
    if (!hash.digest().equals(tail)) {
      throw new Failure(ExitCode.INTERRUPTED, 'the snapshot is not what the server sent: its checksum differs');
    }
  }
}

/**
 * Gives the version of the server, where it tells. The file gets its name when it is whole and synced; until then what
 * was there before under that name stays.
 */
async function download(context: Context, path: string, pack: Packing): Promise<string> {
  const client = await context.client();
  const endpoints = client.endpoints;
  if (endpoints.length !== 1) {
    const text = `snapshot must be requested to one selected node, not multiple [${endpoints.join(' ')}]`;
    throw new Failure(ExitCode.INTERRUPTED, text, 'name one with --endpoints');
  }
  const part = `${path}.part`;
  const startMs = performance.now();
  const progress = new Progress(context.surroundings.stderr, 'snapshot', { isBytes: true });
  const coming = new Download(client, progress);
  const file = await BackgroundFile.create(part);
  try {
    let written = 0;
    for await (const piece of await pack(coming.pieces())) {
      await file.add(piece);
      written += piece.length;
    }
    await file.finish();
    const seconds = (performance.now() - startMs) / 1000;
    const packed = written === coming.total ? '' : `, ${formatSize(written)} on disk`;
    const rate = formatSize(Math.round(coming.total / Math.max(seconds, 0.001)));
    progress.done(`fetched ${formatSize(coming.total)}${packed} in ${formatDuration(1000 * seconds)} (${rate}/s)`);
  } catch (error) {
    progress.stop();
    await rm(part, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await rename(part, path);
  await syncDirectory(dirname(path));
  return coming.version;
}

/** The name is durable too. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** What becomes of the bytes on their way to the disk. */
type Packing = (pieces: AsyncGenerator<Buffer>) => AsyncIterable<Buffer> | Promise<AsyncIterable<Buffer>>;

/** Packed, then encrypted, as the flags say. */
async function packingOf(context: Context): Promise<Packing> {
  const pack = compressionOf(context);
  if (!KEY_FLAGS.some(({ name }) => context.flags.text(name) !== '')) return pack;
  const { loadKeys, sealing } = await import('../../utl/world.ts');
  const { sealedStream } = await import('@etsd/runtime');
  await loadKeys(context.flags);
  return async (pieces) => sealedStream(await pack(pieces), sealing);
}

function compressionOf(context: Context): Packing {
  const format = context.flags.text('compress');
  if (format === 'none') return (pieces) => pieces;
  if (format === 'zstd') return async (pieces) => (await import('@etsd/server/files')).zstdPacked(pieces);
  throw badArguments(`unknown format "${format}" of --compress`, 'write --compress=zstd or --compress=none');
}

const save: Command = {
  name: 'save',
  summary: 'Save the database of one member to a file',
  usage: 'FILE',
  description: [
    'The file ends with a checksum, which a restore looks at. It gets its name once it is whole and on disk.',
    'A file packed with --compress=zstd is read by etsdutl as it is; for etcdutl, unpack it first (zstd -d).',
    'With a key the file is encrypted, and read by etsdutl with the same flag.',
  ].join('\n'),
  examples: [
    ['', 'snapshot save backup.db --endpoints=m1:2379'],
    ['Packed', 'snapshot save backup.db.zst --compress=zstd'],
    ['Encrypted', 'snapshot save backup.db --encryption-key-file=keys'],
  ],
  flags: [flag('compress', 'string', 'none', 'pack the file: none or zstd (not in etcd)'), ...KEY_FLAGS],
  async run(context) {
    if (context.args.length !== 1)
      throw badArguments('snapshot save expects one argument', 'write: snapshot save FILE');
    const path = context.args[0] as string;
    let version = '';
    try {
      const packing = await packingOf(context);
      version = await download(context, path, packing);
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
