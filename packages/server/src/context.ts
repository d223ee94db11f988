/**
 * What an API file is given. Each file of `api/` exports `register<Service>(context)`, which registers its handlers with
 * `context.rpc` and keeps the context. The interfaces below say what the API needs of the parts underneath, no more, so
 * that a test can stand in for each of them with a few lines.
 */
import type { Logger, U64 } from '@etsd/base';
import type { Store } from '@etsd/mvcc';
import type { ConfChange, EtcdError, HeaderTemplate } from '@etsd/proto';
import type { CallNotes } from '@etsd/rpc';
import type { State } from '@etsd/state';
import type { Access } from './access.ts';
import type { MemberConfig } from './config/config.ts';
import type { Limits } from './limits.ts';

/** A running or spent timer. */
export interface TimerHandle {
  cancel(): void;
}

/** Time as the API needs it; `World` of the runtime satisfies it. */
export interface ApiWorld {
  readonly clock: { nowMs(): number; wallMs(): number };
  readonly timers: {
    after(ms: number, fn: () => void): TimerHandle;
    every(ms: number, fn: () => void): TimerHandle;
    endOfTurn(fn: () => void): void;
    soon(fn: () => void): void;
  };
  readonly random: { u32(): number; bytes(count: number): Buffer };
}

/** One call in progress, as a handler sees it (`ServerCall` of rpc). */
export interface ApiCall {
  /** The handler's own slot; null until the handler sets it. */
  context: unknown;
  /** The slots of the lanes (`guard/admission.ts`): where the call waits, and the bytes it is counted with. */
  guard: unknown;
  guardBytes: number;
  /** The slot of the audit log. */
  audit: unknown;
  /** A slot of the audit log that all calls of a connection share: what it knows of the client; null at first. */
  ofPeer: unknown;
  /** Where its time goes; null where nobody wants to know. */
  notes: CallNotes | null;
  /** What a put has become in the log, so that nobody needs a copy of it; null before, and of other methods. */
  entry: Buffer | null;
  /** When the request came, of the monotonic clock, where the transport knows; else −1. To be asked for while a message is handed on. */
  readonly receivedMs: number;
  readonly isOpen: boolean;
  /** How the call ended, as a status code; -1 while it goes on. */
  readonly outcome: number;
  /** Bytes of this call that the transport has not yet handed to the socket. */
  readonly queuedBytes: number;
  /** What leaves the queue was copied: its memory may be used again, which otherwise must not change any more. */
  readonly isCopying: boolean;
  /** So much waits to be read, by this client or by all, that a long answer had better be made as it is taken. */
  readonly isCongested: boolean;
  /** Nothing can be sent now, however short: the client's window is shut. */
  readonly isShut: boolean;
  /** Where the caller of `begin` writes its message: valid until `commit`. */
  readonly target: { buffer: Buffer; offset: number };
  header(name: string): string | undefined;
  /** Of the certificate that the client showed and that was checked; empty where there is none. */
  readonly peerCommonName: string;
  /** The client's address: `10.0.0.1:4711`. */
  readonly peer: string;
  begin(size: number): void;
  commit(): void;
  send(message: Buffer): void;
  sendChunks(chunks: Buffer[], totalBytes: number): void;
  /** Announces a message whose bytes follow by `sendPart`, exactly so many; false where it was refused. */
  beginParts(totalBytes: number): boolean;
  sendPart(bytes: Buffer): void;
  /** `drained` is to be called as soon as the client's window is open. */
  awaitWindow(): void;
  end(): void;
  fail(code: number, message: string): void;
}

/** What is counted of the calls of one method (`MethodFigures` of rpc). */
export interface CallFigures {
  begin(): void;
  messageReceived(bytes: number): void;
  messageSent(bytes: number): void;
  end(code: number): void;
}

/** The handler of one method (`MethodHandler` of rpc). */
export interface ApiHandler {
  readonly kind: 'unary' | 'stream';
  /** Where calls that do not come over gRPC are counted; the transport counts its own. */
  readonly figures?: CallFigures;
  opened?(call: ApiCall): void;
  message(call: ApiCall, bytes: Buffer, start: number, end: number): void;
  halfClosed?(call: ApiCall): void;
  closed?(call: ApiCall): void;
  drained?(call: ApiCall): void;
}

/** Where handlers are registered (`RpcServer`). */
export interface ApiServer {
  handle(path: string, handler: ApiHandler): void;
  flush(): void;
}

/** Who waits for the result of an entry or of a read barrier. `result` is valid only during `done` where it is reused. */
export interface ApiWaiter {
  done(result: unknown): void;
  fail(error: EtcdError): void;
}

/** The log as the API uses it (`ReplicationNode`). */
export interface ApiReplication {
  readonly memberId: U64;
  /** The leader this member follows, or `U64_ZERO`. */
  readonly leader: U64;
  readonly isLeader: boolean;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** Puts an entry into the log; the waiter hears the result of applying it, or why that can not be known. */
  propose(data: Buffer, waiter: ApiWaiter): void;
  /** Calls `companion` before others' proposals are written: what it proposes costs no sync of its own. */
  accompanyWrites(companion: () => void): void;
  /** The same if this member leads and can take it at once; else false, and it reaches nobody. */
  proposeAsLeader(data: Buffer, waiter: ApiWaiter): boolean;
  /** Answers once everything committed before this call is applied here; possibly before it returns. */
  readBarrier(waiter: ApiWaiter): void;
  /** A fresh request id in two 32-bit halves; the object is reused by the next call. */
  nextRequestId(): { readonly high: number; readonly low: number };
  /** As `propose`, for a change of the members; one at a time. */
  proposeConfChange(change: ConfChange, waiter: ApiWaiter): void;
  /** How much of the leader's log a member has, 0 to 1; null where this member does not lead or the other is unknown. */
  matchShare(id: U64): number | null;
  /** Hands leadership, which this member must have, to another voter, and waits until that one leads. */
  moveLeader(to: U64, waiter: ApiWaiter): void;
}

/** What the API asks of the place where bytes rest. */
export interface ApiBackend {
  /** The disk has no room for what was written last; it waits in memory. */
  readonly isOutOfSpace: boolean;
  readonly pendingBytes: number;
  sizeBytes(): number;
  inUseBytes(): number;
  defragment(): Promise<void>;
}

/** What the API asks of the quarantine (`Quarantine`). */
export interface ApiQuarantine {
  /** What to answer instead of serving; null where this member serves. */
  readonly refusal: EtcdError | null;
  /** Whether operators should see the alarm CORRUPT for this member. */
  readonly isAlarmed: boolean;
}

/** What proposals tell of the span they are made in (`Tracer`). */
export interface ApiTracer {
  /** The entry, with a mark where the request that runs now is traced and there is room for it. */
  marked(entry: Buffer, bytesMax: number): Buffer;
}

/** The choices of the operator that show in answers. */
export type ApiConfig = Pick<
  MemberConfig,
  'name' | 'electionTimeoutMs' | 'heartbeatIntervalMs' | 'strictReconfigCheck' | 'autoPromoteLearners'
>;

/** Everything the API files of one member share. */
export interface MemberContext {
  readonly world: ApiWorld;
  readonly logger: Logger;
  readonly config: ApiConfig;
  readonly limits: Limits;
  readonly clusterId: U64;
  readonly memberId: U64;
  readonly header: HeaderTemplate;
  readonly replication: ApiReplication;
  readonly store: Store;
  readonly backend: ApiBackend;
  readonly state: State;
  readonly rpc: ApiServer;
  readonly access: Access;
  /** Whether this member may serve what it holds. */
  readonly quarantine: ApiQuarantine;
  /** Null where nothing is traced. */
  readonly tracer: ApiTracer | null;
}
