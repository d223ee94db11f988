/**
 * The Watch service: one stream of requests and responses per client, any number of watchers on it. What to tell whom is
 * the hub's business (mvcc); here requests become watchers and events become bytes of a call. A call that has too much
 * waiting is not written to: its watchers fall behind in the hub, which holds no events for them, and go on from history
 * once the transport says that the client has read.
 */
import { type Key, keyFromBytes } from '@etsd/base';
import {
  type EventSelection,
  type Watcher,
  WatchHub,
  type WatchSink,
  type WatchSource,
  type WatchStream,
} from '@etsd/mvcc';
import {
  ErrRequestTooManyRequests,
  type EtcdError,
  FilterType,
  GrpcCode,
  type HeaderTemplate,
  intSize,
  stringSize,
  varintSize,
  type WatchCreateRequest,
  WatchRequest,
  watchHeadSize,
  writeInt,
  writeString,
  writeVarint,
  writeWatchHead,
} from '@etsd/proto';
import type { ApiCall, ApiHandler, ApiReplication, ApiServer, ApiWorld, TimerHandle } from '../context.ts';
import { REQUEST_OVERHEAD_BYTES } from '../limits.ts';
import type { LeaderGuard } from './leader-guard.ts';

/** Queued bytes of a call from which its watchers are set aside. Above the transport's mark for `drained`. */
const BACKLOG_BYTES = 128 * 1024;
/** Queued bytes of a call from which its requests are no longer answered but end it: the client does not read. */
const BACKLOG_MAX_BYTES = 1024 * 1024;
/** Responses from this size on are handed over in shared pieces instead of copied. */
const SHARE_BYTES = 32 * 1024;
const PROGRESS_INTERVAL_MIN_MS = 100;

/** Refuses a watcher, or null. */
export type WatchAccess = (call: ApiCall, key: Key, rangeEnd: Key) => EtcdError | null;

export interface WatchParts {
  readonly world: ApiWorld;
  readonly rpc: ApiServer;
  readonly replication: Pick<ApiReplication, 'leader' | 'term'>;
  readonly header: HeaderTemplate;
  readonly store: WatchSource;
  readonly maxRequestBytes: number;
  /** Time between progress notices; up to a tenth is added, so that streams do not all speak at once. */
  readonly progressIntervalMs: number;
  readonly guard: LeaderGuard;
  /** Why this member does not take the call at all, or null. */
  readonly refusal: (call: ApiCall) => EtcdError | null;
  /** Null where everybody may watch everything. */
  readonly access: WatchAccess | null;
}

export class WatchService implements ApiHandler {
  readonly kind = 'stream';
  readonly hub: WatchHub;
  readonly parts: WatchParts;
  private stopped = false;
  private readonly calls = new Set<ApiCall>();

  constructor(parts: WatchParts) {
    this.parts = parts;
    this.hub = new WatchHub(parts.store, {
      fragmentBytes: parts.maxRequestBytes + REQUEST_OVERHEAD_BYTES,
      wake: () => parts.world.timers.endOfTurn(this.step),
    });
  }

  /** One slice of catching up a turn, so that everything else gets its turn too. */
  private readonly step = (): void => {
    if (this.stopped) return;
    if (this.hub.step()) this.parts.world.timers.endOfTurn(this.step);
    this.parts.rpc.flush();
  };

  /** No more catching up. Open streams are ended by the transport. */
  stop(): void {
    this.stopped = true;
  }

  opened(call: ApiCall): void {
    const refused = this.parts.refusal(call);
    if (refused !== null) call.fail(refused.code, refused.message);
    else if (this.parts.guard.admit(call)) {
      call.context = new WatchCall(this, call);
      this.calls.add(call);
    }
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const watchCall = call.context as WatchCall | null;
    if (watchCall === null || !call.isOpen) return;
    if (call.queuedBytes > BACKLOG_MAX_BYTES) {
      call.fail(ErrRequestTooManyRequests.code, ErrRequestTooManyRequests.message);
      return;
    }
    let request: WatchRequest;
    try {
      request = WatchRequest.decode(bytes, start, end);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      call.fail(GrpcCode.Internal, `grpc: failed to unmarshal the received message: ${reason}`);
      return;
    }
    if (request.createRequest !== null) watchCall.create(request.createRequest);
    else if (request.cancelRequest !== null) watchCall.cancel(request.cancelRequest.watchId);
    else if (request.progressRequest !== null) watchCall.stream.requestProgress();
  }

  drained(call: ApiCall): void {
    (call.context as WatchCall | null)?.stream.drained();
  }

  closed(call: ApiCall): void {
    this.parts.guard.forget(call);
    this.calls.delete(call);
    (call.context as WatchCall | null)?.close();
  }

  /** Ends every stream with what new ones are told now, so that clients go on elsewhere. */
  endAll(): void {
    for (const call of [...this.calls]) {
      const refused = call.isOpen ? this.parts.refusal(call) : null;
      if (refused !== null) call.fail(refused.code, refused.message);
    }
  }
}

/** One client's stream. */
class WatchCall implements WatchSink {
  readonly stream: WatchStream;
  private readonly service: WatchService;
  private readonly call: ApiCall;
  private progressTimer: TimerHandle | null = null;

  constructor(service: WatchService, call: ApiCall) {
    this.service = service;
    this.call = call;
    this.stream = service.hub.open(this);
  }

  create(request: WatchCreateRequest): void {
    const { parts, hub } = this.service;
    // An empty key stands for the smallest one.
    const key = request.key.length === 0 ? '\0' : keyFromBytes(request.key);
    const rangeEnd = keyFromBytes(request.rangeEnd);
    // Judged is exactly what will be watched.
    const refused = parts.access === null ? null : parts.access(this.call, key, rangeEnd);
    if (refused !== null) {
      this.answer(-1, hub.revision, CREATED | CANCELED, 0, describe(refused));
      return;
    }
    const made = this.stream.create({
      key,
      rangeEnd,
      startRevision: request.startRevision,
      watchId: request.watchId,
      prevKv: request.prevKv,
      noPuts: request.filters.includes(FilterType.NOPUT),
      noDeletes: request.filters.includes(FilterType.NODELETE),
      fragment: request.fragment,
      progressNotify: request.progressNotify,
    });
    if (typeof made === 'string') {
      this.answer(-1, hub.revision, CREATED | CANCELED, 0, made);
      return;
    }
    if (made.progressNotify && this.progressTimer === null) this.armProgress();
    this.answer(made.id, hub.revision, CREATED, 0, '');
  }

  cancel(watchId: number): void {
    if (this.stream.cancel(watchId)) this.answer(watchId, this.service.hub.revision, CANCELED, 0, '');
  }

  close(): void {
    this.progressTimer?.cancel();
    this.progressTimer = null;
    this.stream.close();
  }

  writable(): boolean {
    return this.call.isOpen && this.call.queuedBytes < BACKLOG_BYTES;
  }

  envelopeSize(watcher: Watcher, revision: number): number {
    const { header, replication } = this.service.parts;
    return watchHeadSize(header, revision, replication.term, watcher.id, false);
  }

  events(
    watcher: Watcher,
    revision: number,
    selection: EventSelection,
    from: number,
    to: number,
    fragment: boolean,
  ): void {
    const { header, replication } = this.service.parts;
    const call = this.call;
    const term = replication.term;
    const headSize = watchHeadSize(header, revision, term, watcher.id, fragment);
    const size = headSize + selection.size(from, to);
    if (size < SHARE_BYTES) {
      call.begin(size);
      const { buffer, offset } = call.target;
      const at = writeWatchHead(buffer, offset, header, revision, term, watcher.id, fragment);
      selection.write(buffer, at, from, to);
      call.commit();
      return;
    }
    const head = Buffer.allocUnsafe(headSize);
    writeWatchHead(head, 0, header, revision, term, watcher.id, fragment);
    const chunks = [head];
    selection.share(from, to, chunks);
    call.sendChunks(chunks, size);
  }

  compacted(watcher: Watcher, compactRevision: number): void {
    this.answer(watcher.id, 0, CANCELED, compactRevision, '');
  }

  progress(watchId: number, revision: number): void {
    this.answer(watchId, revision, 0, 0, '');
  }

  /** A response without events. */
  private answer(watchId: number, revision: number, flags: number, compactRevision: number, reason: string): void {
    const { header, replication } = this.service.parts;
    const call = this.call;
    if (!call.isOpen) return;
    const term = replication.term;
    let size = header.size(revision, term);
    if (watchId !== 0) size += 1 + intSize(watchId);
    if ((flags & CREATED) !== 0) size += 2;
    if ((flags & CANCELED) !== 0) size += 2;
    if (compactRevision !== 0) size += 1 + varintSize(compactRevision);
    if (reason !== '') size += 1 + stringSize(reason);
    call.begin(size);
    const { buffer, offset } = call.target;
    let at = header.write(buffer, offset, revision, term);
    if (watchId !== 0) {
      buffer[at++] = 0x10;
      at = writeInt(buffer, at, watchId);
    }
    if ((flags & CREATED) !== 0) {
      buffer[at++] = 0x18;
      buffer[at++] = 1;
    }
    if ((flags & CANCELED) !== 0) {
      buffer[at++] = 0x20;
      buffer[at++] = 1;
    }
    if (compactRevision !== 0) {
      buffer[at++] = 0x28;
      at = writeVarint(buffer, at, compactRevision);
    }
    if (reason !== '') {
      buffer[at++] = 0x32;
      writeString(buffer, at, reason);
    }
    call.commit();
  }

  private armProgress(): void {
    const { world, progressIntervalMs } = this.service.parts;
    const interval = Math.max(PROGRESS_INTERVAL_MIN_MS, progressIntervalMs);
    const jitter = (world.random.u32() / 0x1_0000_0000) * (interval / 10);
    this.progressTimer = world.timers.after(interval + jitter, this.progressDue);
  }

  private readonly progressDue = (): void => {
    this.stream.progressTick();
    if (this.progressTimer !== null) this.armProgress();
  };
}

const CREATED = 1;
const CANCELED = 2;

const CODE_NAMES = new Map<number, string>(Object.entries(GrpcCode).map(([name, code]) => [code, name]));

/** An error as Go's gRPC prints it, which is what etcd gives as the reason of a refusal. */
function describe(error: EtcdError): string {
  return `rpc error: code = ${CODE_NAMES.get(error.code) ?? 'Unknown'} desc = ${error.message}`;
}

/** Registers the service; the store's changes have to be published to the `hub` of what is returned. */
export function registerWatch(parts: WatchParts): WatchService {
  const service = new WatchService(parts);
  parts.rpc.handle('/etcdserverpb.Watch/Watch', service);
  return service;
}
