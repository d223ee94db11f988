/**
 * Every bound of the transport, with its unit in its name. A connection that goes over one is refused, slowed or ended
 * in the way the field says; none of them can be reached by a client that behaves.
 */
export interface RpcLimits {
  /** Connections open at a time; more are closed at once. */
  readonly connections: number;
  /** The same for one address; 0: no fewer than all. More are closed at once. */
  readonly connectionsPerAddress: number;
  /** SETTINGS_MAX_CONCURRENT_STREAMS; a further stream is refused (REFUSED_STREAM). */
  readonly concurrentStreams: number;
  /** A gRPC message coming in; larger ones end the call with RESOURCE_EXHAUSTED. */
  readonly receiveMessageBytes: number;
  /** A gRPC message going out. */
  readonly sendMessageBytes: number;

  /** Header list as RFC 9113 counts it (octets plus 32 a field); larger ones end the stream. */
  readonly headerListBytes: number;
  /** Fields of one header list; more end the stream. */
  readonly headerFields: number;
  /** Header lists of all open streams of a connection; the stream that goes over it is reset (CVE-2026-49975). */
  readonly heldHeaderBytes: number;
  /** Bytes of one encoded header block over all its frames; more end the connection. */
  readonly headerBlockBytes: number;
  /** CONTINUATION frames of one header block; more end the connection. */
  readonly continuationFrames: number;
  /** From a block's first frame to its last; longer ends the connection. */
  readonly headerBlockMs: number;

  /** Receive window of one stream: what a call may send before the first credit. */
  readonly streamWindowBytes: number;
  /** Receive window of a connection. */
  readonly connectionWindowBytes: number;
  /** Bytes of half-received messages a connection may hold beyond the streams' first windows; more have to wait. */
  readonly assemblyBytes: number;
  /** Bytes of half-received messages a connection may hold altogether; the stream that goes over it is reset. */
  readonly heldBytes: number;
  /** The same for all connections of a server together. */
  readonly heldBytesOfAll: number;

  /** Bytes of answers that clients have not taken, of all connections: the less is left of it, the fewer of its own a
   * connection may leave unread before its further requests and answers are refused. Beyond it whoever leaves the most
   * unread for the longest is sent away. */
  readonly queuedBytesOfAll: number;
  /** Answers of which a client takes nothing for this long are told of, once each time. */
  readonly unreadMs: number;
  /** Framed bytes waiting in user space for one socket before bulk data and then messages queue at their stream. */
  readonly outboxBytes: number;
  /** Framed bytes at which nothing more is read from the connection until some are written. */
  readonly outboxStopReadingBytes: number;
  /** Bulk data is framed in slices of this many bytes, one stream after the other. */
  readonly sliceBytes: number;
  /** Queued bytes of a call under which its handler is told that it may go on. */
  readonly drainedBytes: number;

  /** Stream resets (the peer's, and ours when it provoked them): so many at once … */
  readonly resetBurst: number;
  /** … and so many a second in the long run; more end the connection (ENHANCE_YOUR_CALM). */
  readonly resetsPerSecond: number;
  /** SETTINGS, PING, PRIORITY, WINDOW_UPDATE without effect, unknown frames: so many at once … */
  readonly controlBurst: number;
  /** … and a second. */
  readonly controlPerSecond: number;
  /** DATA frames with less than `smallDataBytes` that complete nothing: so many at once … */
  readonly smallDataBurst: number;
  /** … and a second. */
  readonly smallDataPerSecond: number;
  readonly smallDataBytes: number;

  /** From accept to the complete preface and first SETTINGS; later the connection is closed. */
  readonly prefaceMs: number;
  /** Until our SETTINGS are acknowledged (SETTINGS_TIMEOUT). */
  readonly settingsAckMs: number;
  /** A frame begun must be complete in this time. */
  readonly frameMs: number;
  /** The kernel takes no byte of ours for this long: the connection is dead. */
  readonly writeStallMs: number;
  /** A response waits for this long for the client to open its window: the stream (the connection, if its window is the
   * one that is shut) is ended. 0: for ever. */
  readonly windowStallMs: number;
  /** A unary request, or a message of a stream, that is not complete after this long is reset. 0: for ever. */
  readonly requestMs: number;
  /** A connection without streams for this long is sent away. 0: never (grpc-go's default). */
  readonly idleMs: number;
  /** After GOAWAY of a graceful stop, before what is left is cut. */
  readonly drainMs: number;

  /** Pings closer together than this are strikes (etcd: 5 s). */
  readonly pingMinMs: number;
  /** Pings are allowed while there are no streams (etcd: no; then they may come every two hours). */
  readonly pingWithoutStreams: boolean;
  /** Strikes until the connection is sent away (grpc-go: 2). */
  readonly pingStrikes: number;
  /** Silence after which we ping (etcd: 2 h). */
  readonly keepaliveMs: number;
  /** How long its answer may take (etcd: 20 s). */
  readonly keepaliveTimeoutMs: number;
}

export const DEFAULT_LIMITS: RpcLimits = {
  connections: 65_536,
  connectionsPerAddress: 32_768,
  concurrentStreams: 16_384,
  receiveMessageBytes: 2_097_152,
  sendMessageBytes: 0x7fff_ffff,

  headerListBytes: 16_384,
  headerFields: 100,
  heldHeaderBytes: 33_554_432,
  headerBlockBytes: 32_768,
  continuationFrames: 10,
  headerBlockMs: 10_000,

  streamWindowBytes: 262_144,
  connectionWindowBytes: 8_388_608,
  assemblyBytes: 33_554_432,
  heldBytes: 134_217_728,
  heldBytesOfAll: 1_073_741_824,
  queuedBytesOfAll: 268_435_456,
  unreadMs: 5_000,

  outboxBytes: 131_072,
  outboxStopReadingBytes: 524_288,
  sliceBytes: 16_384,
  drainedBytes: 65_536,

  resetBurst: 1_000,
  resetsPerSecond: 200,
  controlBurst: 2_000,
  controlPerSecond: 500,
  smallDataBurst: 20_000,
  smallDataPerSecond: 20_000,
  smallDataBytes: 64,

  prefaceMs: 10_000,
  settingsAckMs: 20_000,
  frameMs: 30_000,
  writeStallMs: 60_000,
  windowStallMs: 600_000,
  requestMs: 120_000,
  idleMs: 0,
  drainMs: 30_000,

  pingMinMs: 5_000,
  pingWithoutStreams: false,
  pingStrikes: 2,
  keepaliveMs: 7_200_000,
  keepaliveTimeoutMs: 20_000,
};

/** The defaults with what the caller wants otherwise, brought into agreement with each other. */
export function completeLimits(...wanted: readonly (Partial<RpcLimits> | undefined)[]): RpcLimits {
  const limits = Object.assign({}, DEFAULT_LIMITS, ...wanted) as RpcLimits;
  // A connection must be able to hold a few of the largest messages, and one grant of that size.
  const largest = limits.receiveMessageBytes;
  const given = Object.assign({}, ...wanted) as Partial<RpcLimits>;
  const heldBytes = given.heldBytes ?? Math.max(limits.heldBytes, 4 * largest);
  return {
    ...limits,
    heldBytes,
    heldBytesOfAll: given.heldBytesOfAll ?? Math.max(limits.heldBytesOfAll, heldBytes),
    assemblyBytes: given.assemblyBytes ?? Math.max(limits.assemblyBytes, 2 * largest),
  };
}
