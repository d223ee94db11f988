import { CorruptionError, faultPoint, type Logger, OperatorError } from '@etsd/base';
import { BoltFile } from '@etsd/boltfile';
import type { Message } from '@etsd/proto';
import type { SnapshotSink } from '@etsd/replication';
import type { DiskFile, World } from '@etsd/runtime';
import { writeSnapshotFile } from '@etsd/wal';
import { receivedPath, removeReceived, temporaryPath } from './file-names.ts';
import type { SnapshotMetrics } from './snapshot-metrics.ts';
import { checkStoreFile, SYNC_BYTES } from './store-file.ts';
import { OTHERS_ARE_BUSY, pauser, rest } from './turns.ts';

export interface SinkParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  readonly directory: string;
  readonly metrics: SnapshotMetrics;
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
  /** When the last bytes of a snapshot came, or one was whole. */
  receivedAtMs = 0;

  constructor(parts: SinkParts) {
    this.parts = parts;
  }

  async receive(message: Message, body: AsyncIterable<Buffer>): Promise<void> {
    const { world, directory, logger, metrics, appliedIndex } = this.parts;
    const { disk, clock } = world;
    const metadata = message.snapshot?.metadata ?? null;
    if (metadata === null) throw new OperatorError('a snapshot came without its position', 'Look at its sender.');
    const startMs = clock.nowMs();
    await removeReceived(world, directory, appliedIndex());
    const path = temporaryPath(directory, `received-${++this.received}`);
    await disk.remove(path);
    let bytes = 0;
    try {
      bytes = await this.store(path, body);
      await this.check(path, bytes);
    } catch (error) {
      await disk.remove(path);
      throw error;
    }
    // Before the log can speak of it: a start that finds this received and not installed needs what the message says.
    if (message.snapshot !== null) await writeSnapshotFile(disk, directory, message.snapshot);
    faultPoint('snapshot.receive.before');
    await disk.rename(path, receivedPath(directory, metadata.index));
    await disk.syncDirectory(directory);
    faultPoint('snapshot.receive.after');
    this.receivedAtMs = clock.nowMs();
    const tookMs = clock.nowMs() - startMs;
    metrics.received.observe(tookMs / 1000);
    logger.log('debug', 'checked and kept a database snapshot', {
      'snapshot-index': metadata.index,
      bytes,
      took: `${tookMs.toFixed(1)}ms`,
    });
  }

  /** Writes the body to a new file, durably; its length. */
  private async store(path: string, body: AsyncIterable<Buffer>): Promise<number> {
    const { world, metrics } = this.parts;
    const file = await world.disk.open(path, 'create', { sealed: true });
    try {
      let position = 0;
      let durable = 0;
      let sinceMs = world.clock.nowMs();
      for await (const piece of body) {
        await write(file, piece, position);
        this.receivedAtMs = world.clock.nowMs();
        position += piece.length;
        if (position - durable < SYNC_BYTES) continue;
        await synced(file);
        durable = position;
        await rest(world, world.clock.nowMs() - sinceMs);
        sinceMs = world.clock.nowMs();
      }
      const startMs = world.clock.nowMs();
      await synced(file);
      metrics.receivedSync.observe((world.clock.nowMs() - startMs) / 1000);
      return position;
    } finally {
      await file.close();
    }
  }

  private async check(path: string, bytes: number): Promise<void> {
    const file = await BoltFile.open(this.parts.world.disk, path, { reusesMemory: true });
    try {
      if (file.size !== bytes) {
        const what = `a snapshot of ${bytes} bytes came, its file has ${file.size}`;
        throw new CorruptionError(what, path, 'The sender will send it again.');
      }
      await checkStoreFile(file, pauser(this.parts.world, { isBusy: OTHERS_ARE_BUSY }));
    } finally {
      await file.close();
    }
  }
}

function synced(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => {
    file.sync((error) => (error === null ? resolve() : reject(error)));
  });
}

function write(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    file.write(bytes, 0, bytes.length, position, (error) => (error === null ? resolve() : reject(error)));
  });
}
