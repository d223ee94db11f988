/**
 * In which order requests are served when there is more to do than time. A lane waits for all that stand above it, and is
 * refused before them. What members send each other has a port of its own and is above all lanes.
 *
 * | lane    | what                                                            | under overload                     |
 * | ------- | --------------------------------------------------------------- | ---------------------------------- |
 * | `first` | leases (without them locks are lost), health, open streams      | never waits                        |
 * | `admin` | members, maintenance, users, compaction                         | waits after 40 ms of a turn        |
 * | `write` | puts, deletions, transactions, logins, locks, elections              | waits after 20 ms of a turn        |
 * | `read`  | ranges of one key                                               | waits after 10 ms                  |
 * | `scan`  | all other ranges                                                | waits after 5 ms                   |
 */
export type Lane = 'first' | 'admin' | 'write' | 'read' | 'scan';

/** Whose lane the request decides by what it reads. */
export const RANGE_PATH = '/etcdserverpb.KV/Range';

const FIRST = ['/etcdserverpb.Lease/', '/grpc.health.v1.Health/'];
const WRITE = [
  '/etcdserverpb.KV/Put',
  '/etcdserverpb.KV/DeleteRange',
  '/etcdserverpb.KV/Txn',
  '/v3lockpb.',
  '/v3electionpb.',
  '/etcdserverpb.Auth/Authenticate',
  '/etsd.V2/Change',
];

const SCAN = ['/etcdserverpb.KV/RangeStream', '/etcdserverpb.Lease/LeaseLeases', '/etsd.V2/List'];

/** The lane of a method; ranges are told apart by their request. */
export function laneOf(path: string): Lane {
  if (path === RANGE_PATH || path === '/etsd.V2/Get' || path === '/etsd.V2/Wait') return 'read';
  if (SCAN.includes(path)) return 'scan';
  if (FIRST.some((prefix) => path.startsWith(prefix))) return 'first';
  if (WRITE.some((prefix) => path.startsWith(prefix))) return 'write';
  return 'admin';
}
