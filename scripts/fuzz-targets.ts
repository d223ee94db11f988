/** Every reader of bytes from outside, and the fuzzer that tries it. */
export interface FuzzTarget {
  readonly name: string;
  /** What is read, and by whom it may be written. */
  readonly reads: string;
  readonly file: string;
  /** Part of the tests' names, where a file has several targets. */
  readonly pattern?: string;
}

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'http2',
    reads: 'HTTP/2 frames, requests and streams of clients; answers of servers',
    file: 'packages/rpc/src/connection.fuzz.test.ts',
  },
  { name: 'hpack', reads: 'header blocks of clients and servers', file: 'packages/rpc/src/hpack/hpack.fuzz.test.ts' },
  { name: 'grpc', reads: 'gRPC messages, timeouts, binary metadata', file: 'packages/rpc/src/grpc/grpc.fuzz.test.ts' },
  {
    name: 'proto',
    reads: 'every message of the schema, and its views',
    file: 'packages/proto/src/decode.fuzz.test.ts',
  },
  {
    name: 'json',
    reads: 'JSON of the gateway, as bytes',
    file: 'packages/proto/src/transcode/transcode.fuzz.test.ts',
  },
  {
    name: 'tokens',
    reads: 'JWT, OIDC tokens, key sets, key files, auth headers',
    file: 'packages/server/src/tokens.fuzz.test.ts',
  },
  {
    name: 'http',
    reads: 'plain HTTP targets; JSON of members on the peer port',
    file: 'packages/server/src/http/http.fuzz.test.ts',
  },
  {
    name: 'peers',
    reads: 'streams of entries and messages between members',
    file: 'packages/replication/src/peers/codec.fuzz.test.ts',
  },
  { name: 'wal', reads: 'files of the log', file: 'packages/wal/src/reader.fuzz.test.ts', pattern: 'log' },
  { name: 'snap', reads: 'snapshot files', file: 'packages/wal/src/reader.fuzz.test.ts', pattern: 'snapshot' },
  { name: 'sealed-wal', reads: 'encrypted files of the log', file: 'packages/wal/src/sealed-segment.fuzz.test.ts' },
  { name: 'sealed', reads: 'key rings, encrypted files', file: 'packages/runtime/src/sealed/sealed.fuzz.test.ts' },
  {
    name: 'boltfile',
    reads: 'databases of etcd, and snapshots from members',
    file: 'packages/boltfile/src/reader.fuzz.test.ts',
  },
  {
    name: 'store',
    reads: "the store's file, as it is looked at before it is opened",
    file: 'packages/backend/src/lmdb-reader.fuzz.test.ts',
  },
  {
    name: 'readers',
    reads:
      'requests to the API of etcd 2, lists of revoked certificates, manifests of archives, headers that name a trace',
    file: 'packages/server/src/readers.fuzz.test.ts',
  },
  {
    name: 'settings',
    reads: 'YAML files, command lines, environments, lines of etsdctl',
    file: 'packages/cli/src/parsers.fuzz.test.ts',
  },
];
