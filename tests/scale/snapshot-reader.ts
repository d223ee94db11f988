/** Takes a snapshot in a thread of its own, so that taking it in does not hold up the clients beside it. */
import { createHash } from 'node:crypto';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { SnapshotRequest, SnapshotResponse } from '@etsd/proto';
import { connect } from './client.ts';

export interface SnapshotRead {
  readonly bytes: number;
  readonly seconds: number;
  /** Until the first piece came. */
  readonly firstSeconds: number;
}

/** A whole snapshot; its checksum is checked, its bytes are counted. `begun` is called when the first piece has come. */
export function readSnapshot(address: string, begun: () => void = () => {}): Promise<SnapshotRead> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { address } });
    worker.on('message', (message: SnapshotRead | null) => {
      if (message === null) begun();
      else resolve(message);
    });
    worker.once('error', reject);
  });
}

if (parentPort !== null) {
  const { address } = workerData as { address: string };
  const channel = connect(address);
  const hash = createHash('sha256');
  const startedMs = performance.now();
  let bytes = 0;
  let firstSeconds = 0;
  let last: Buffer = Buffer.alloc(0);
  let left = -1;
  await new Promise<void>((resolve, reject) => {
    const call = channel.start('/etcdserverpb.Maintenance/Snapshot', {
      message(_call, message, start, end) {
        if (bytes === 0) {
          firstSeconds = (performance.now() - startedMs) / 1000;
          parentPort?.postMessage(null);
        }
        const { blob, remainingBytes } = SnapshotResponse.decode(message, start, end);
        if (left === 0) {
          last = Buffer.from(blob);
          return;
        }
        hash.update(blob);
        bytes += blob.length;
        left = remainingBytes;
      },
      closed(_call, code, text) {
        if (code === 0) resolve();
        else reject(new Error(text));
      },
    });
    call.sendLast(SnapshotRequest.encode(new SnapshotRequest()));
  });
  channel.close();
  if (!hash.digest().equals(last)) throw new Error('the checksum of the snapshot is wrong');
  parentPort.postMessage({ bytes, seconds: (performance.now() - startedMs) / 1000, firstSeconds });
}
