/**
 * Who did what to which keys from where, and what came of it: one line of JSON per request. Stands in front of all
 * handlers, so that what is refused, for whatever reason, is told too.
 */
import { AuthenticateRequest, GrpcCode } from '@etsd/proto';
import type { Access, Identity } from '../access.ts';
import type { ApiCall, ApiHandler, ApiWorld } from '../context.ts';
import { RequestTimes } from '../observe/request-trace.ts';
import { PassingHandler } from '../passing-handler.ts';
import type { AuditBuffer } from './audit-buffer.ts';
import { AuditedPut } from './audited-put.ts';
import { AuditedRequest, type ToldMethod } from './audited-request.ts';
import { Head, LineHeads, LineWriter } from './line-writer.ts';
import { PutLines } from './put-lines.ts';
import { type Describe, describer, EntryKey, type KeyStyle, keyWriter } from './request-fields.ts';

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

const PUT_PATH = '/etcdserverpb.KV/Put';
const AUTHENTICATE_PATH = '/etcdserverpb.Auth/Authenticate';

export class AuditLog {
  /** Requests refused because their lines could not have been written. */
  refused = 0;
  readonly parts: AuditParts;
  private readonly lines: LineWriter;
  private readonly puts: PutLines;
  private readonly key = new EntryKey();

  constructor(parts: AuditParts) {
    this.parts = parts;
    this.lines = new LineWriter(parts.world.clock, parts.buffer);
    this.puts = new PutLines(this.lines, parts.buffer);
  }

  guard(path: string, handler: ApiHandler): ApiHandler {
    const { member, level, keys } = this.parts;
    const name = path.slice(1).replace(/^[a-z0-9.]*\./, '');
    const heads = new LineHeads(`Z","member":"${member}","rpc":"${name}","user":`);
    const method = { heads, describe: describer(path, keyWriter(keys)) };
    const isTold = AUDIT_LEVELS.indexOf(levelOf(path)) <= AUDIT_LEVELS.indexOf(level);
    if (path === PUT_PATH && isTold && keys === 'escaped') return new AuditedPut(this, method, handler);
    return new AuditedHandler(this, path, method, isTold, handler);
  }

  nowMs(): number {
    return this.parts.world.clock.nowMs();
  }

  /** Whether a request had to be refused because a strict log takes none now. */
  refuses(call: ApiCall): boolean {
    const { buffer, strict } = this.parts;
    if (!strict || !buffer.lacks || !call.isOpen) return false;
    this.refused++;
    call.fail(GrpcCode.Unavailable, 'etsd: the audit log can not be written');
    return true;
  }

  /** A range that a stream asked for was refused; the stream itself goes on. */
  refusedOnStream(call: ApiCall, code: number): void {
    if (call.audit instanceof AuditedRequest) call.audit.refusedCode = code;
  }

  /** Kept with the connection, which mostly goes on as it began. */
  headOf(heads: LineHeads, identity: Identity, call: ApiCall): Head {
    const { ofPeer } = call;
    if (ofPeer instanceof Head && ofPeer.isFor(heads, identity)) return ofPeer;
    const head = heads.of(identity, call.peer, call.peerCommonName);
    call.ofPeer = head;
    return head;
  }

  begin(call: ApiCall, handler: AuditedHandler, bytes: Buffer, start: number, end: number): AuditedRequest {
    const { access } = this.parts;
    const isLogin = handler.path === AUTHENTICATE_PATH;
    const identity = isLogin ? loginIdentity(bytes, start, end) : access.identify(call);
    const { notes } = call;
    return new AuditedRequest(handler, identity, notes instanceof RequestTimes ? notes.receivedMs : this.nowMs());
  }

  /** Tells of a request that is over, or of one on a stream that goes on. */
  tell(call: ApiCall, request: AuditedRequest, code: number): void {
    request.peer = call.peer;
    request.commonName = call.peerCommonName;
    request.endMs = this.endMs(call);
    request.code = code;
    request.revision = this.parts.revision();
    this.puts.flush();
    this.lines.write(request.method.heads, request);
  }

  /** Tells of a put that is over and has this entry in the log. */
  tellPut(method: ToldMethod, head: Head, call: ApiCall, entry: Buffer): void {
    const { key } = this;
    const { notes } = call;
    const sinceMs = notes instanceof RequestTimes ? notes.receivedMs : this.nowMs();
    if (key.find(entry)) {
      const endMs = this.endMs(call);
      this.puts.add(head, entry, key.start, key.end, call.outcome, sinceMs, endMs, this.parts.revision());
      return;
    }
    const request = new AuditedRequest(method, head.identity, sinceMs);
    request.describeEntry(entry);
    this.tell(call, request, call.outcome);
  }

  private endMs({ notes }: ApiCall): number {
    return notes instanceof RequestTimes ? notes.finishedMs : this.nowMs();
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

const NO_BYTES = Buffer.alloc(0);

class AuditedHandler extends PassingHandler implements ToldMethod {
  readonly path: string;
  readonly heads: LineHeads;
  readonly describe: Describe;
  private readonly log: AuditLog;
  /** Told whatever comes of it; else refusals only. */
  private readonly isTold: boolean;
  /**
   * A request that is told only if it is refused, while its handler looks at it. Most are answered then and there; of a put
   * that waits its entry in the log tells the key, so that nothing has to be kept.
   */
  private looked: ApiCall | null = null;
  private bytes: Buffer = NO_BYTES;
  private start = 0;
  private end = 0;

  constructor(log: AuditLog, path: string, method: ToldMethod, isTold: boolean, inner: ApiHandler) {
    super(inner);
    this.path = path;
    this.heads = method.heads;
    this.describe = method.describe;
    this.log = log;
    this.isTold = isTold;
  }

  override message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const { log } = this;
    if (log.refuses(call)) return;
    if (this.kind === 'unary' && !this.isTold) {
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
    this.inner.message(call, bytes, start, end);
    if (this.looked === call) {
      // What has to wait is noted as long as its bytes are here.
      const request = this.log.begin(call, this, bytes, start, end);
      if (call.entry === null) request.describe(bytes, start, end);
      call.audit = request;
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
      if (mayBeDenied(code)) call.audit = log.begin(call, this, this.bytes, this.start, this.end);
    }
    const request = call.audit;
    this.inner.closed?.(call);
    if (!(request instanceof AuditedRequest)) return;
    call.audit = null;
    const isDue = this.kind === 'unary' && this.isTold;
    if (!isDue && !isDenied(code, request)) return;
    if (isLooked) request.describe(this.bytes, this.start, this.end);
    else if (call.entry !== null) request.describeEntry(call.entry);
    log.tell(call, request, code);
  }
}

function mayBeDenied(code: number): boolean {
  return code === GrpcCode.InvalidArgument || code === GrpcCode.PermissionDenied || code === GrpcCode.Unauthenticated;
}

/** Refused for want of rights. Who shows no token at all is told by etcd that the request is not right. */
function isDenied(code: number, { identity }: AuditedRequest): boolean {
  if (code === GrpcCode.InvalidArgument) return identity.by === 'nothing';
  return code === GrpcCode.PermissionDenied || code === GrpcCode.Unauthenticated;
}
