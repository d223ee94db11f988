/**
 * Takes a snapshot in a process of its own that gives way to all others: who is sent one is on another machine, and neither
 * its work nor its garbage is to be in the way of those whose waits are measured.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { SnapshotRequest, SnapshotResponse } from '@etsd/proto';
import { NODE } from '../support/binaries.ts';
import { connect } from './client.ts';

export interface SnapshotRead {
  readonly bytes: number;
  readonly seconds: number;
  /** Until the first piece came. */
  readonly firstSeconds: number;
}

/** How much nicer it is than who started it. */
const GIVES_WAY = '10';

/** A whole snapshot; its checksum is checked, its bytes are counted. `begun` is called when the first piece has come. */
export function readSnapshot(address: string, begun: () => void = () => {}): Promise<SnapshotRead> {
  // Told to the program itself, only its first thread would give way.
  const words = ['-n', GIVES_WAY, NODE, '--v8-pool-size=1', import.meta.filename, address];
  const child = spawn('nice', words, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    child.on('message', (message: SnapshotRead | null) => {
      if (message === null) begun();
      else resolve(message);
    });
    child.once('error', reject);
    child.once('exit', (status) => {
      if (status !== 0) reject(new Error(`a snapshot was not received (status ${status})`));
    });
  });
}

if (import.meta.main) {
  const channel = connect(process.argv[2] as string);
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
          process.send?.(null);
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
  process.send?.({ bytes, seconds: (performance.now() - startedMs) / 1000, firstSeconds });
}
