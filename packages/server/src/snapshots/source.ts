import type { Logger } from '@etsd/base';
import { Message, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import type { OutgoingSnapshot, SnapshotSource } from '@etsd/replication';
import type { SnapshotFiles } from './snapshot-files.ts';
import { v2StoreJson } from './v2-store.ts';

/**
 * Makes what a member is sent that lacks more than the log still has: the raft message says only where raft stands; what
 * is sent is the state of the moment at which its file is begun, which is that or later, and says so.
 */
export class MemberSnapshotSource implements SnapshotSource {
  private readonly files: SnapshotFiles;
  private readonly logger: Logger;

  constructor(files: SnapshotFiles, logger: Logger) {
    this.files = files;
    this.logger = logger;
  }

  async open(message: Message): Promise<OutgoingSnapshot> {
    const file = await this.files.take();
    if (file === null) throw new Error('a snapshot that is wanted was not made');
    const { state } = file;
    const metadata = SnapshotMetadata.create({ index: state.index, term: state.term, confState: state.confState });
    const data = v2StoreJson({ members: state.members, removed: state.removed, version: state.clusterVersion });
    this.logger.log('info', 'merged a snapshot for another member', {
      'asked-for-index': message.snapshot?.metadata?.index ?? 0,
      'snapshot-index': state.index,
      'snapshot-term': state.term,
    });
    return {
      message: Object.assign(new Message(), message, { snapshot: RaftSnapshot.create({ data, metadata }) }),
      size: file.size,
      read: () => file.read(),
      close: () => file.close(),
    };
  }
}
