/** What clients ask for, call by call, under the names that gRPC's servers give it. */
import { METHODS, type MethodKind } from '@etsd/proto';
import { type CallersByHeader, type CallTimes, MethodFigures } from '@etsd/rpc';
import { formatNumber, labelText, type MetricRegistry } from './metrics.ts';

/** What the transport keeps (`RpcServer`). */
export interface MeasuredCalls {
  readonly figures: ReadonlyMap<string, MethodFigures>;
  readonly callers: CallersByHeader;
}

/** The header in which etcd's clients say for which version they were made. */
export const CLIENT_VERSION_HEADER = 'client-api-version';

const STREAM_PATHS = new Set(METHODS.filter(({ kind }) => kind !== 'unary').map(({ path }) => path));

/** Whether either side of a method sends any number of messages. */
export function isStream(path: string): boolean {
  return STREAM_PATHS.has(path);
}

/** Names of status codes, 0 to 16. */
const CODES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];

const TYPES: Readonly<Record<MethodKind, string>> = {
  unary: 'unary',
  'server-stream': 'server_stream',
  bidi: 'bidi_stream',
};

/** Services and methods of which there is nothing to see before they are used. */
const SEEN_WHEN_USED = /^\/(?:etsdpb\.|v3lockpb\.Lock|v3electionpb\.Election|etcdserverpb\.KV\/RangeStream)/;

/** Shown by etcd and not served here: whoever calls it is refused, which etcd counts under no method either. */
const UNSERVED = { path: '/grpc.health.v1.Health/List', service: 'grpc.health.v1.Health', name: 'List' };

/** Streams whose end by an error of the transport is counted, by the name of their interface. */
const STREAMS: ReadonlyArray<readonly [path: string, api: string]> = [
  ['/etcdserverpb.Watch/Watch', 'watch'],
  ['/etcdserverpb.Lease/LeaseKeepAlive', 'lease-keepalive'],
];
const INTERNAL = 13;

interface Labelled {
  readonly figures: MethodFigures;
  readonly method: string;
  readonly service: string;
  readonly type: string;
}

/** `timesAll`: every call is timed (`--metrics extensive`), not only some. */
export function attachRpcMetrics(registry: MetricRegistry, calls: MeasuredCalls, timesAll: boolean): void {
  const unserved = { ...UNSERVED, kind: 'unary' as const };
  const labelled: Labelled[] = [...METHODS, unserved]
    .flatMap(({ path, service, name, kind }) => {
      const figures = path === UNSERVED.path ? new MethodFigures(path, timesAll) : calls.figures.get(path);
      if (figures === undefined) return [];
      return [{ figures, method: `grpc_method="${name}"`, service: `grpc_service="${service}"`, type: TYPES[kind] }];
    })
    .sort((a, b) => (a.method + a.service < b.method + b.service ? -1 : 1));
  const shown = (): Labelled[] =>
    labelled.filter(({ figures }) => figures.started > 0 || !SEEN_WHEN_USED.test(figures.path));
  attachCounts(registry, shown);
  attachTimes(registry, shown, timesAll);
  const sum =
    (read: (figures: MethodFigures) => number): (() => number) =>
    () =>
      labelled.reduce((total, { figures }) => total + read(figures), 0);
  registry.value(
    'counter',
    'etcd_network_client_grpc_received_bytes_total',
    'Bytes of the messages of clients, as they are without compression.',
    sum((figures) => figures.receivedBytes),
  );
  registry.value(
    'counter',
    'etcd_network_client_grpc_sent_bytes_total',
    'Bytes of the messages to clients, as they are without compression.',
    sum((figures) => figures.sentBytes),
  );
  registry.labelled(
    'counter',
    'etcd_server_client_requests_total',
    'Calls by the version that the client says it was made for.',
    () => {
      const { unary, stream } = calls.callers;
      const of = (type: string, counts: typeof unary): [string, number][] =>
        [...counts].map(([version, count]) => [
          `client_api_version="${labelText(version)}",type="${type}"`,
          count.calls,
        ]);
      return new Map([...of('stream', stream), ...of('unary', unary)].filter(([, count]) => count > 0));
    },
  );
  registry.labelled(
    'counter',
    'etcd_network_server_stream_failures_total',
    'Streams that ended because what the client sent could not be read.',
    () =>
      new Map(
        STREAMS.map(([path, api]): [string, number] => [
          `API="${api}",Type="receive"`,
          calls.figures.get(path)?.handled[INTERNAL] ?? 0,
        ]).filter(([, count]) => count > 0),
      ),
  );
}

function attachCounts(registry: MetricRegistry, shown: () => Labelled[]): void {
  const counter = (name: string, help: string, read: (figures: MethodFigures) => number): void =>
    registry.labelled(
      'counter',
      name,
      help,
      () =>
        new Map(
          shown().map(({ figures, method, service, type }) => [
            `${method},${service},grpc_type="${type}"`,
            read(figures),
          ]),
        ),
    );
  counter('grpc_server_started_total', 'Calls that began.', (figures) => figures.started);
  counter('grpc_server_msg_received_total', 'Messages of clients.', (figures) => figures.received);
  counter('grpc_server_msg_sent_total', 'Messages to clients.', (figures) => figures.sent);
  registry.lines('counter', 'grpc_server_handled_total', 'Calls that ended, by status.', () => {
    const lines: string[] = [];
    for (const { figures, method, service, type } of shown()) {
      for (const [code, name] of CODES.entries()) {
        const count = formatNumber(figures.handled[code] as number);
        lines.push(`grpc_server_handled_total{grpc_code="${name}",${method},${service},grpc_type="${type}"} ${count}`);
      }
    }
    return lines;
  });
  const bytes = (name: string, help: string, read: (figures: MethodFigures) => number): void =>
    registry.labelled(
      'counter',
      name,
      help,
      () =>
        new Map(
          shown()
            .filter(({ figures }) => figures.started > 0)
            .map(({ figures, method, service }) => [`${method},${service}`, read(figures)]),
        ),
    );
  bytes('etsd_rpc_received_bytes_total', 'Bytes of the messages of clients.', (figures) => figures.receivedBytes);
  bytes('etsd_rpc_sent_bytes_total', 'Bytes of the messages to clients.', (figures) => figures.sentBytes);
}

function attachTimes(registry: MetricRegistry, shown: () => Labelled[], timesAll: boolean): void {
  if (timesAll) {
    registry.labelledHistogram(
      'grpc_server_handling_seconds',
      'How long calls took from their first byte to their end.',
      () =>
        new Map(
          shown().map(({ figures, method, service, type }) => [
            `${method},${service},grpc_type="${type}"`,
            figures.times,
          ]),
        ),
    );
  }
  const timed = (): Labelled[] => shown().filter(({ figures }) => figures.times.count > 0);
  registry.labelledHistogram(
    'etsd_rpc_sampled_seconds',
    'How long calls took, from one in 64 of each method, or from all with --metrics extensive.',
    (): Map<string, CallTimes> =>
      new Map(timed().map(({ figures, method, service }) => [`${method},${service}`, figures.times])),
  );
  registry.labelled(
    'counter',
    'etsd_rpc_sampled_held_seconds_total',
    'How long the same calls held the event loop when their messages came.',
    () => new Map(timed().map(({ figures, method, service }) => [`${method},${service}`, figures.heldSeconds])),
  );
}
