/**
 * Who did what to which keys from where, and what came of it: one line of JSON per request. Stands in front of all
 * handlers, so that what is refused, for whatever reason, is told too.
 */
import { AuthenticateRequest, GrpcCode } from '@etsd/proto';
import type { Access, Identity } from '../access.ts';
import type { ApiCall, ApiHandler, ApiWorld } from '../context.ts';
import { RequestTrace } from '../observe/request-trace.ts';
import { PassingHandler } from '../passing-handler.ts';
import type { AuditBuffer } from './audit-buffer.ts';
import { LineHeads, type LineOfRequest, LineWriter } from './line-writer.ts';
import { type Describe, describer, type KeyStyle, keyWriter, writePutKey } from './request-fields.ts';

/** What is written, each level with all before it. */
export const AUDIT_LEVELS = ['auth', 'admin', 'write', 'read', 'all'] as const;
export type AuditLevel = (typeof AUDIT_LEVELS)[number];

export interface AuditParts {
  readonly world: ApiWorld;
  readonly access: Pick<Access, 'identify'>;
  readonly buffer: AuditBuffer;
  readonly member: string;
  readonly level: AuditLevel;
  readonly keys: KeyStyle;
  /** Refuses requests while their lines could not be written. */
  readonly strict: boolean;
  readonly revision: () => number;
}

const READS = new Set([
  ...['/etsd.V2/Get', '/etsd.V2/List', '/etsd.V2/Wait'],
  '/etcdserverpb.KV/Range',
  '/etcdserverpb.KV/RangeStream',
  '/etcdserverpb.Watch/Watch',
  '/etcdserverpb.Lease/LeaseTimeToLive',
  '/etcdserverpb.Lease/LeaseLeases',
  '/etcdserverpb.Cluster/MemberList',
  '/etcdserverpb.Maintenance/Status',
  '/etcdserverpb.Auth/AuthStatus',
  '/etcdserverpb.Maintenance/Hash',
  '/etcdserverpb.Maintenance/HashKV',
  '/v3electionpb.Election/Leader',
  '/v3electionpb.Election/Observe',
  '/etsdpb.Observe/Usage',
]);
const WRITES = ['/etsd.V2/', '/etcdserverpb.KV/', '/etcdserverpb.Lease/', '/v3lockpb.', '/v3electionpb.'];

/** From which level on a method is told; refusals for want of rights are told on every level. */
export function levelOf(path: string): AuditLevel {
  if (path.startsWith('/grpc.health') || path === '/etcdserverpb.Lease/LeaseKeepAlive') return 'all';
  if (READS.has(path)) return 'read';
  if (path === '/etcdserverpb.KV/Compact') return 'admin';
  if (WRITES.some((prefix) => path.startsWith(prefix))) return 'write';
  return path.startsWith('/etcdserverpb.Auth/') ? 'auth' : 'admin';
}

/** Puts that may be under way without a further note made, and bytes of a key's text that are kept in one. */
const PUTS_KEPT_MAX = 4096;
const PUT_KEY_BYTES_MAX = 192;
/** Requests whose lines wait for the end of the turn, and what room a strict log keeps for each, in bytes. */
const WAITING_MAX = 512;
const WAITING_LINE_BYTES = 512;
const NO_KEY = new Uint8Array(0);
const PUT_PATH = '/etcdserverpb.KV/Put';
const AUTHENTICATE_PATH = '/etcdserverpb.Auth/Authenticate';

export class AuditLog {
  /** Requests refused because their lines could not have been written. */
  refused = 0;
  readonly parts: AuditParts;
  private readonly lines: LineWriter;
  /** What puts are noted in, used again and again: what lives until the log is synced is costly to collect. */
  private readonly puts: Request[] = [];
  /** Requests that are over: their lines are made while nobody waits for an answer. The first so many places count. */
  private readonly waiting: Request[] = [];
  private waitingCount = 0;

  constructor(parts: AuditParts) {
    this.parts = parts;
    this.lines = new LineWriter(parts.world.clock, parts.buffer);
  }

  /** Whether a strict log takes no request now. */
  get isStuck(): boolean {
    const { buffer, strict } = this.parts;
    if (!strict || !buffer.lacks(this.waitingCount * WAITING_LINE_BYTES)) return false;
    // How much room they take is known when they are made.
    this.flush();
    return buffer.lacks(0);
  }

  guard(path: string, handler: ApiHandler): ApiHandler {
    return new AuditedHandler(this, path, handler);
  }

  /** A range that a stream asked for was refused; the stream itself goes on. */
  refusedOnStream(call: ApiCall, code: number): void {
    if (call.audit instanceof Request) call.audit.refusedCode = code;
  }

  begin(call: ApiCall, handler: AuditedHandler, bytes: Buffer, start: number, end: number): Request {
    const { access, world } = this.parts;
    const isLogin = handler.path === AUTHENTICATE_PATH;
    const identity = isLogin ? loginIdentity(bytes, start, end) : access.identify(call);
    const request = handler.isPlainPut ? (this.puts.pop() ?? newPut(handler)) : new Request(handler, NO_KEY);
    request.keyLength = handler.isPlainPut ? writePutKey(bytes, start, end, request.key) : -1;
    request.fields = request.keyLength < 0 ? handler.describe(bytes, start, end) : '';
    request.identity = identity;
    const { notes } = call;
    request.sinceMs = notes instanceof RequestTrace ? notes.receivedMs : world.clock.nowMs();
    return request;
  }

  /** The request is over and never told. */
  release(request: Request): void {
    if (request.handler.isPlainPut && this.puts.length < PUTS_KEPT_MAX) this.puts.push(request);
  }

  /** Tells of a request on a stream that goes on. */
  tell(call: ApiCall, request: Request, code: number): void {
    this.outcome(call, request, code);
    this.flush();
    this.lines.write(request.handler.heads, request);
  }

  /** Tells of a request that is over; its line may be made later, behind the answers of this turn. */
  tellLast(call: ApiCall, request: Request, code: number): void {
    this.outcome(call, request, code);
    this.waiting[this.waitingCount++] = request;
    if (this.waitingCount === 1) this.parts.world.timers.endOfTurn(this.turnEnds);
    else if (this.waitingCount === WAITING_MAX) this.flush();
  }

  private outcome(call: ApiCall, request: Request, code: number): void {
    const { revision, world } = this.parts;
    const { notes } = call;
    request.peer = call.peer;
    request.commonName = call.peerCommonName;
    request.endMs = notes instanceof RequestTrace ? notes.finishedMs : world.clock.nowMs();
    request.code = code;
    request.revision = revision();
  }

  /** Makes the lines that wait. */
  flush(): void {
    const { lines, waiting, waitingCount } = this;
    this.waitingCount = 0;
    for (let place = 0; place < waitingCount; place++) {
      const request = waiting[place] as Request;
      lines.write(request.handler.heads, request);
      this.release(request);
    }
  }

  private readonly turnEnds = (): void => this.flush();
}

function newPut(handler: AuditedHandler): Request {
  return new Request(handler, new Uint8Array(PUT_KEY_BYTES_MAX));
}

/** Who a login says it is: whether that is so, its code tells. */
function loginIdentity(bytes: Buffer, start: number, end: number): Identity {
  try {
    return { user: AuthenticateRequest.decode(bytes, start, end).name, by: 'password' };
  } catch {
    return { user: '', by: 'password' };
  }
}

/** A request that is being served, or the last one of a stream. */
class Request implements LineOfRequest {
  readonly handler: AuditedHandler;
  /** The key of a put that shows nothing else, as text between quotes; then `fields` is empty. */
  readonly key: Uint8Array;
  keyLength = -1;
  fields = '';
  identity: Identity = UNTOLD;
  peer = '';
  commonName = '';
  sinceMs = 0;
  endMs = 0;
  code = 0;
  revision = 0;
  /** Of a stream that refused what it was asked and goes on; -1 where it did not. */
  refusedCode = -1;

  constructor(handler: AuditedHandler, key: Uint8Array) {
    this.handler = handler;
    this.key = key;
  }
}

const UNTOLD: Identity = { user: '', by: 'nothing' };
const NO_BYTES = Buffer.alloc(0);

class AuditedHandler extends PassingHandler {
  readonly path: string;
  /** Parts of lines that are the same for all requests of a client to this method. */
  readonly heads: LineHeads;
  /** Whether keys of puts are written as text. */
  readonly isPlainPut: boolean;
  private readonly log: AuditLog;
  readonly describe: Describe;
  /** Told whatever comes of it; else refusals only. */
  private readonly isTold: boolean;
  /** A request that is told only if it is refused, while its handler looks at it: most are answered then and there. */
  private looked: ApiCall | null = null;
  private bytes: Buffer = NO_BYTES;
  private start = 0;
  private end = 0;

  constructor(log: AuditLog, path: string, inner: ApiHandler) {
    super(inner);
    this.path = path;
    const name = path.slice(1).replace(/^[a-z0-9.]*\./, '');
    this.heads = new LineHeads(`Z","member":"${log.parts.member}","rpc":"${name}","user":`);
    this.log = log;
    const { level, keys } = log.parts;
    this.describe = describer(path, keyWriter(keys));
    this.isPlainPut = path === PUT_PATH && keys === 'escaped';
    this.isTold = AUDIT_LEVELS.indexOf(levelOf(path)) <= AUDIT_LEVELS.indexOf(level);
  }

  override message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { log } = this;
    if (log.isStuck && call.isOpen) {
      log.refused++;
      call.fail(GrpcCode.Unavailable, 'etsd: the audit log can not be written');
      return;
    }
    if (!this.isTold && this.kind === 'unary') {
      this.look(call, bytes, start, end);
      return;
    }
    const request = log.begin(call, this, bytes, start, end);
    call.audit = request;
    this.inner.message(call, bytes, start, end);
    if (this.kind === 'unary' || call.audit !== request || !call.isOpen) return;
    // One line for each thing asked on a stream; how the stream ends is told where it was refused.
    const code = request.refusedCode < 0 ? GrpcCode.OK : request.refusedCode;
    if (this.isTold || isDenied(code, request)) log.tell(call, request, code);
  }

  private look(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    this.looked = call;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.inner.message(call, bytes, start, end);
    // What has to wait is noted as long as its bytes are here.
    if (this.looked === call) call.audit = this.log.begin(call, this, bytes, start, end);
    this.looked = null;
    this.bytes = NO_BYTES;
  }

  override closed(call: ApiCall): void {
    const { log } = this;
    const code = call.outcome;
    if (this.looked === call) {
      this.looked = null;
      if (mayBeDenied(code)) call.audit = log.begin(call, this, this.bytes, this.start, this.end);
    }
    const request = call.audit;
    this.inner.closed?.(call);
    if (!(request instanceof Request)) return;
    call.audit = null;
    const isDue = this.kind === 'unary' && this.isTold;
    if (isDue || isDenied(code, request)) log.tellLast(call, request, code);
    else log.release(request);
  }
}

function mayBeDenied(code: number): boolean {
  return code === GrpcCode.InvalidArgument || code === GrpcCode.PermissionDenied || code === GrpcCode.Unauthenticated;
}

/** Refused for want of rights. Who shows no token at all is told by etcd that the request is not right. */
function isDenied(code: number, { identity }: Request): boolean {
  if (code === GrpcCode.InvalidArgument) return identity.by === 'nothing';
  return code === GrpcCode.PermissionDenied || code === GrpcCode.Unauthenticated;
}
