/**
 * In which order a member answers what comes in one moment: thousands of requests of each lane, written to one connection
 * at once, the lowest lane first. What is answered in the opposite order was put in that order by the member.
 */
import {
  LeaseTimeToLiveRequest,
  MemberListRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import { GrpcChannel } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import { Signal } from '../support/conditions.ts';
import { startServer } from '../support/server.ts';

const KEYS = 100;
const key = Buffer.from('order/0000');
const encoded = {
  // Small answers: what the client has to take first is not what is asked.
  scan: RangeRequest.encode(
    RangeRequest.create({ key: Buffer.from('order/'), rangeEnd: Buffer.from('order0'), keysOnly: true, limit: 30 }),
  ),
  read: RangeRequest.encode(RangeRequest.create({ key })),
  // Of the lane of writes, but answered by this member alone: when a write is answered is a matter of the log, too.
  write: TxnRequest.encode(
    TxnRequest.create({ success: [RequestOp.create({ requestRange: RangeRequest.create({ key }) })] }),
  ),
  admin: MemberListRequest.encode(MemberListRequest.create({})),
  lease: LeaseTimeToLiveRequest.encode(LeaseTimeToLiveRequest.create({ ID: '0000000000000007' })),
};

export type LaneName = keyof typeof encoded;

/** From the lowest lane, which is sent first, to the highest, and how many of each. */
const SENT: readonly (readonly [lane: LaneName, path: string, count: number])[] = [
  ['scan', '/etcdserverpb.KV/Range', 6000],
  ['read', '/etcdserverpb.KV/Range', 4000],
  ['write', '/etcdserverpb.KV/Txn', 4000],
  ['admin', '/etcdserverpb.Cluster/MemberList', 4000],
  ['lease', '/etcdserverpb.Lease/LeaseTimeToLive', 500],
];

export interface Order {
  /** When the last request of each lane was answered, as its place among all answers. */
  readonly last: ReadonlyMap<LaneName, number>;
  readonly failures: readonly string[];
}

export async function answerOrder(lanes: boolean): Promise<Order> {
  const server = await startServer({ product: 'etsd', flags: [`--priority-lanes=${lanes}`] });
  const channel = new GrpcChannel(nodeWorld(), { host: '127.0.0.1', port: server.clientPort });
  try {
    for (let from = 0; from < KEYS; from += 100) {
      const puts = Array.from({ length: 100 }, (_, place) => {
        const body = {
          key: Buffer.from(`order/${String(from + place).padStart(4, '0')}`),
          value: Buffer.alloc(100, 'v'),
        };
        return channel.unary('/etcdserverpb.KV/Put', PutRequest.encode(PutRequest.create(body)), { timeoutMs: 60_000 });
      });
      await Promise.all(puts);
    }
    const last = new Map<LaneName, number>();
    const failures: string[] = [];
    const changed = new Signal();
    let answered = 0;
    let sent = 0;
    for (const [lane, path, count] of SENT) {
      for (let index = 0; index < count; index++) {
        const receiver = {
          message() {},
          closed(_call: unknown, code: number, message: string) {
            last.set(lane, answered++);
            if (code !== 0) failures.push(`${path}: ${code} ${message}`);
            if (answered === sent) changed.signal();
          },
        };
        channel.start(path, receiver).sendLast(encoded[lane]);
        sent++;
      }
    }
    await changed.wait(120_000, 'all answers', () => answered === sent);
    return { last, failures };
  } finally {
    channel.close();
    await server.dispose();
  }
}
