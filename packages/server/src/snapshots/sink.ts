import { CorruptionError, type Logger, OperatorError } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import type { Message } from '@etsd/proto';
import type { SnapshotSink } from '@etsd/replication';
import type { Disk, DiskFile, World } from '@etsd/runtime';
import { receivedPath, removeReceived, temporaryPath } from './file-names.ts';
import { checkStoreFile, type Pause } from './store-file.ts';

export interface SinkParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  readonly directory: string;
  /** Received snapshots up to here are of no use any more. */
  readonly appliedIndex: () => number;
}

/**
 * Puts a snapshot that another member sends into a file, `<index>.snap.db` as etcd calls it. The name appears when the
 * file is whole, checked and durable, so that whoever finds it, also after a crash, may use it.
 */
export class MemberSnapshotSink implements SnapshotSink {
  private readonly parts: SinkParts;
  private received = 0;

  constructor(parts: SinkParts) {
    this.parts = parts;
  }

  async receive(message: Message, body: AsyncIterable<Buffer>): Promise<void> {
    const { world, directory, logger, appliedIndex } = this.parts;
    const { disk, clock } = world;
    const metadata = message.snapshot?.metadata ?? null;
    if (metadata === null) throw new OperatorError('a snapshot came without its position', 'Look at its sender.');
    const startMs = clock.nowMs();
    await removeReceived(disk, directory, appliedIndex());
    const path = temporaryPath(directory, `received-${++this.received}`);
    await disk.remove(path);
    let bytes = 0;
    try {
      bytes = await store(disk, path, body);
      await this.check(path, bytes);
    } catch (error) {
      await disk.remove(path);
      throw error;
    }
    await disk.rename(path, receivedPath(directory, metadata.index));
    await disk.syncDirectory(directory);
    logger.log('debug', 'checked and kept a database snapshot', {
      'snapshot-index': metadata.index,
      bytes,
      took: `${(clock.nowMs() - startMs).toFixed(1)}ms`,
    });
  }

  private async check(path: string, bytes: number): Promise<void> {
    const file = await BoltFile.open(this.parts.world.disk, path);
    try {
      if (file.size !== bytes) {
        const what = `a snapshot of ${bytes} bytes came, its file has ${file.size}`;
        throw new CorruptionError(what, path, 'The sender will send it again.');
      }
      await checkStoreFile(file, this.pause);
    } finally {
      await file.close();
    }
  }

  private readonly pause: Pause = () => new Promise((resolve) => this.parts.world.timers.endOfTurn(resolve));
}

/** Writes the body to a new file, durably; its length. */
async function store(disk: Disk, path: string, body: AsyncIterable<Buffer>): Promise<number> {
  const file = await disk.open(path, 'create');
  try {
    let position = 0;
    for await (const piece of body) {
      await write(file, piece, position);
      position += piece.length;
    }
    await new Promise<void>((resolve, reject) => {
      file.sync((error) => (error === null ? resolve() : reject(error)));
    });
    return position;
  } finally {
    await file.close();
  }
}

function write(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(bytes, 0, bytes.length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}
