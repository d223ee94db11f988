import { assert, type Logger } from '@etsd/base';
import { Message, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import type { OutgoingSnapshot, SnapshotSource } from '@etsd/replication';
import type { World } from '@etsd/runtime';
import type { SnapshotFile, SnapshotFiles } from './snapshot-files.ts';
import { rest } from './turns.ts';
import { v2StoreJson } from './v2-store.ts';

export interface SourceParts {
  readonly world: Pick<World, 'clock' | 'timers'>;
  readonly logger: Logger;
  /** Whether somebody is served who should not feel the sending. */
  readonly isBusy: () => boolean;
}

/**
 * Makes what a member is sent that lacks more than the log still has: the raft message says only where raft stands; what
 * is sent is the state of the moment at which its file is begun, which is that or later, and says so.
 */
export class MemberSnapshotSource implements SnapshotSource {
  private readonly files: SnapshotFiles;
  private readonly parts: SourceParts;

  constructor(files: SnapshotFiles, parts: SourceParts) {
    this.files = files;
    this.parts = parts;
  }

  async open(message: Message): Promise<OutgoingSnapshot> {
    const file = await this.files.take();
    if (file === null) throw new Error('a snapshot that is wanted was not made');
    const { state } = file;
    const metadata = SnapshotMetadata.create({ index: state.index, term: state.term, confState: state.confState });
    const { members, removed, clusterVersion: version } = state;
    assert(file.keys !== null, 'what another member is sent has the keys of etcd 2');
    const data = v2StoreJson({ members, removed, version, keys: file.keys });
    this.parts.logger.log('info', 'merged a snapshot for another member', {
      'asked-for-index': message.snapshot?.metadata?.index ?? 0,
      'snapshot-index': state.index,
      'snapshot-term': state.term,
    });
    return {
      message: Object.assign(new Message(), message, { snapshot: RaftSnapshot.create({ data, metadata }) }),
      size: file.size,
      read: this.pacedReads(file),
      close: () => file.close(),
    };
  }

  /** Reads pieces; while others are busy each waits in proportion to the time that the receiver took for the last. */
  private pacedReads(file: SnapshotFile): () => Promise<Buffer | null> {
    const { world, isBusy } = this.parts;
    let sentMs = world.clock.nowMs();
    return async () => {
      if (isBusy()) await rest(world, world.clock.nowMs() - sentMs);
      sentMs = world.clock.nowMs();
      return file.read();
    };
  }
}
