/** Reads one large range in a thread of its own, so that taking it in does not hold up the clients beside it. */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { RangeRequest } from '@etsd/proto';
import { connect } from './client.ts';

export interface RangeRead {
  readonly bytes: number;
  readonly seconds: number;
}

/** The whole range of a prefix as one unary answer; its bytes are counted, not decoded. */
export function readRange(address: string, prefix: string): Promise<RangeRead> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { address, prefix } });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

if (parentPort !== null) {
  const { address, prefix } = workerData as { address: string; prefix: string };
  const channel = connect(address);
  const key = Buffer.from(prefix);
  const rangeEnd = Buffer.from(key);
  rangeEnd[key.length - 1] = (rangeEnd[key.length - 1] as number) + 1;
  const startedMs = performance.now();
  const answer = await channel.unary(
    '/etcdserverpb.KV/Range',
    RangeRequest.encode(RangeRequest.create({ key, rangeEnd })),
  );
  channel.close();
  parentPort.postMessage({ bytes: answer.length, seconds: (performance.now() - startedMs) / 1000 });
}
