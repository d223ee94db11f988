/**
 * Who did what to which keys from where, and what came of it: one line of JSON per request. Stands in front of all
 * handlers, so that what is refused, for whatever reason, is told too.
 */
import { AuthenticateRequest, GrpcCode, RaftRequestField, RaftRequestView } from '@etsd/proto';
import type { Access, Identity } from '../access.ts';
import type { ApiCall, ApiHandler, ApiWorld } from '../context.ts';
import { RequestTrace } from '../observe/request-trace.ts';
import { PassingHandler } from '../passing-handler.ts';
import type { AuditBuffer } from './audit-buffer.ts';
import { LineHeads, type LineOfRequest, LineWriter } from './line-writer.ts';
import { type Describe, describer, type KeyStyle, keyWriter, PlainKey } from './request-fields.ts';

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

/** Puts that may be under way without a further note made. */
const PUTS_KEPT_MAX = 4096;
const PUT_PATH = '/etcdserverpb.KV/Put';
const AUTHENTICATE_PATH = '/etcdserverpb.Auth/Authenticate';

export class AuditLog {
  /** Requests refused because their lines could not have been written. */
  refused = 0;
  readonly parts: AuditParts;
  private readonly lines: LineWriter;
  /** What puts are noted in, used again and again: what lives until the log is synced is costly to collect. */
  private readonly puts: Request[] = [];

  constructor(parts: AuditParts) {
    this.parts = parts;
    this.lines = new LineWriter(parts.world.clock, parts.buffer);
  }

  /** Whether a strict log takes no request now. */
  get isStuck(): boolean {
    const { buffer, strict } = this.parts;
    return strict && buffer.lacks;
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
    const request = handler.isPlainPut ? (this.puts.pop() ?? new Request(handler)) : new Request(handler);
    request.identity = isLogin ? loginIdentity(bytes, start, end) : access.identify(call);
    const { notes } = call;
    request.sinceMs = notes instanceof RequestTrace ? notes.receivedMs : world.clock.nowMs();
    return request;
  }

  /** The request is over and never told. */
  release(request: Request): void {
    if (!request.handler.isPlainPut || this.puts.length >= PUTS_KEPT_MAX) return;
    request.key.forget();
    request.fields = '';
    this.puts.push(request);
  }

  /** Tells of a request that is over, or of one on a stream that goes on. */
  tell(call: ApiCall, request: Request, code: number): void {
    this.outcome(call, request, code);
    this.lines.write(request.handler.heads, request);
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
  /** Of a put that shows nothing else; found when its line is made. */
  readonly key = new PlainKey();
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

  constructor(handler: AuditedHandler) {
    this.handler = handler;
  }

  /** What is shown of the request's bytes. */
  describe(bytes: Buffer, start: number, end: number): void {
    const { handler, key } = this;
    if (!handler.isPlainPut || !key.find(bytes, start, end)) this.fields = handler.describe(bytes, start, end);
  }

  /** The same of what stands in the log. */
  describeEntry(entry: Buffer): void {
    if (!entryView.findBody(entry, RaftRequestField.Put)) return;
    this.describe(entry, entryView.bodyStart, entryView.bodyEnd);
  }
}

const entryView = new RaftRequestView();
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
  /**
   * A put, or a request that is told only if it is refused, while its handler looks at it. Most of the latter are answered
   * then and there; of a put that waits its entry in the log tells the key, so that nothing has to be kept.
   */
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
    if (this.kind === 'unary' && (this.isPlainPut || !this.isTold)) {
      this.look(call, bytes, start, end);
      return;
    }
    const request = log.begin(call, this, bytes, start, end);
    request.describe(bytes, start, end);
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
    if (this.isTold) call.audit = this.log.begin(call, this, bytes, start, end);
    this.inner.message(call, bytes, start, end);
    if (this.looked === call) {
      // What has to wait is noted as long as its bytes are here.
      call.audit ??= this.log.begin(call, this, bytes, start, end);
      if (call.entry === null) (call.audit as Request).fields = this.describe(bytes, start, end);
    }
    this.looked = null;
    this.bytes = NO_BYTES;
  }

  override closed(call: ApiCall): void {
    const { log } = this;
    const code = call.outcome;
    const isLooked = this.looked === call;
    if (isLooked) {
      this.looked = null;
      if (!this.isTold && mayBeDenied(code)) call.audit = log.begin(call, this, this.bytes, this.start, this.end);
    }
    const request = call.audit;
    this.inner.closed?.(call);
    if (!(request instanceof Request)) return;
    call.audit = null;
    const isDue = this.kind === 'unary' && this.isTold;
    if (isDue || isDenied(code, request)) {
      if (isLooked) request.describe(this.bytes, this.start, this.end);
      else if (call.entry !== null) request.describeEntry(call.entry);
      log.tell(call, request, code);
    }
    log.release(request);
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
