/** Who calls, and whether they may: between the transport and the handlers, and asked by these about keys and leases. */
import { assert, type Key, type U64 } from '@etsd/base';
import { ErrInvalidAuthToken, ErrPermissionDenied, ErrUserEmpty, EtcdError, unknownError } from '@etsd/proto';
import type { AuthListener, AuthStore } from '@etsd/state';
import { ACCESS_RULES, type Right } from './access-rules.ts';
import type { ApiCall, ApiHandler, ApiServer, ApiWorld } from './context.ts';
import { PendingCall, TokenWaits } from './token-waits.ts';
import { Caller, NOBODY, type Tokens } from './tokens.ts';

/** What is needed of a lease: the keys attached to it. */
export interface LeaseKeys {
  keysOf(id: U64): Iterable<Key>;
  readonly leases: { values(): Iterable<{ keys(): Iterable<Key> }> };
}

export interface AccessParts {
  readonly world: ApiWorld;
  readonly auth: AuthStore;
  readonly tokens: Tokens;
  readonly lessor: LeaseKeys;
  /** Who shows no token is taken for the one its certificate names. */
  readonly clientCertAuth: boolean;
  readonly appliedIndex: () => number;
  /** Longest that a call waits for the token it shows to be known here. */
  readonly waitMs: number;
}

/** What a caller shows of itself. */
export type Credentials = Pick<ApiCall, 'header' | 'peerCommonName'>;

/** A user's name, empty where there is none, and what said so. */
export interface Identity {
  readonly user: string;
  readonly by: 'token' | 'certificate' | 'nothing' | 'invalid token' | 'authentication is off' | 'password';
}

export const UNASKED: Identity = { user: '', by: 'authentication is off' };
const UNKNOWN: Identity = { user: '', by: 'nothing' };
const INVALID: Identity = { user: '', by: 'invalid token' };

export class Access {
  readonly auth: AuthStore;
  readonly tokens: Tokens;
  private readonly parts: AccessParts;
  private readonly waits: TokenWaits;

  constructor(parts: AccessParts) {
    this.parts = parts;
    this.auth = parts.auth;
    this.tokens = parts.tokens;
    this.waits = new TokenWaits(parts.world, parts.waitMs);
  }

  /** To be told by the state what becomes of users and tokens. */
  readonly listener: AuthListener = {
    authenticated: (user, token) => {
      this.tokens.assigned(user, token);
      this.waits.known(token);
    },
    userChanged: (user) => this.tokens.dropUser(user),
    enabledChanged: (enabled) => {
      if (enabled) return;
      this.tokens.dropAll();
      this.waits.goOn();
    },
  };

  stop(): void {
    this.tokens.stop();
    this.waits.stop();
  }

  // ── who ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Who calls; nobody where no credentials are shown, and while authentication is off. */
  callerOf(call: Credentials): Caller | EtcdError {
    const { auth } = this;
    if (!auth.enabled) return NOBODY;
    const token = tokenOf(call);
    if (token !== undefined) return this.tokens.caller(token, auth.revision) ?? ErrInvalidAuthToken;
    if (!this.parts.clientCertAuth || call.peerCommonName === '') return NOBODY;
    // The certificate of the gateway says nothing of who speaks through it.
    if (call.header('grpcgateway-accept') !== undefined) return NOBODY;
    return new Caller(call.peerCommonName, auth.revision);
  }

  /** Who calls and how that is known, for the audit log: what `callerOf` goes by, in words. */
  identify(call: ApiCall): Identity {
    if (!this.auth.enabled) return UNASKED;
    const caller = this.callerOf(call);
    if (caller instanceof EtcdError) return INVALID;
    if (caller === NOBODY) return UNKNOWN;
    return { user: caller.username, by: tokenOf(call) === undefined ? 'certificate' : 'token' };
  }

  /** This member itself, for what it puts into the log unasked. */
  asRoot(): Caller {
    return this.auth.enabled ? new Caller('root', this.auth.revision) : NOBODY;
  }

  // ── whether ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Why the caller may not, by a right that needs no look at the request; null where it may or the handler decides. */
  ruleError(right: Right, call: ApiCall): EtcdError | null {
    switch (right) {
      case 'user':
        return this.userError(call);
      case 'entry': {
        // Nobody's request need not take the way through the log. What the others may, their entries show.
        const caller = this.callerOf(call);
        if (caller instanceof EtcdError) return caller;
        return caller === NOBODY && this.auth.enabled ? ErrUserEmpty : null;
      }
      case 'root':
        return this.rootError(call);
      case 'root-raw': {
        const error = this.rootError(call);
        return error === null ? null : raw(error);
      }
      default:
        return null;
    }
  }

  userError(call: ApiCall): EtcdError | null {
    if (!this.auth.enabled) return null;
    const caller = this.callerOf(call);
    if (caller instanceof EtcdError) return caller;
    if (caller.username === '') return ErrUserEmpty;
    // A token that needs no memory, or a certificate, may name somebody who is not there.
    return this.auth.user(caller.username) === undefined ? ErrPermissionDenied : null;
  }

  rootError(call: Credentials): EtcdError | null {
    if (!this.auth.enabled) return null;
    const caller = this.callerOf(call);
    return caller instanceof EtcdError ? caller : this.auth.adminError(caller.username, caller.authRevision);
  }

  /** Why the range may not be read, or null. */
  readError(call: ApiCall, key: Key, rangeEnd: Key): EtcdError | null {
    return this.auth.enabled ? this.readErrorOf(this.callerOf(call), key, rangeEnd) : null;
  }

  readErrorOf(caller: Caller | EtcdError, key: Key, rangeEnd: Key): EtcdError | null {
    if (caller instanceof EtcdError) return caller;
    return this.auth.readError(caller.username, caller.authRevision, key, rangeEnd);
  }

  /** Why the keys attached to a lease may not be read, or null. What is not there has no keys. */
  leaseReadError(call: ApiCall, id: U64): EtcdError | null {
    if (!this.auth.enabled) return null;
    const error = this.userError(call);
    if (error !== null) return error;
    return this.keysReadError(call, this.parts.lessor.keysOf(id));
  }

  /** Why not all leases may be shown, or null: that takes a read right on all keys attached to any. */
  leasesReadError(call: ApiCall): EtcdError | null {
    if (!this.auth.enabled) return null;
    const error = this.userError(call);
    if (error !== null || this.rootError(call) === null) return error;
    for (const lease of this.parts.lessor.leases.values()) {
      const refused = this.keysReadError(call, lease.keys());
      if (refused !== null) return refused;
    }
    return null;
  }

  /** Why a lease may not be kept alive, or null: that is a change of all keys attached. */
  leaseWriteError(call: ApiCall, id: U64): EtcdError | null {
    if (!this.auth.enabled) return null;
    const error = this.userError(call);
    if (error !== null) return error;
    const caller = this.callerOf(call) as Caller;
    for (const key of this.parts.lessor.keysOf(id)) {
      const refused = this.auth.writeError(caller.username, caller.authRevision, key, '');
      if (refused !== null) return refused;
    }
    return null;
  }

  private keysReadError(call: ApiCall, keys: Iterable<Key>): EtcdError | null {
    const caller = this.callerOf(call);
    for (const key of keys) {
      const error = this.readErrorOf(caller, key, '');
      if (error !== null) return error;
    }
    return null;
  }

  // ── waiting for a token that this member does not know yet ────────────────────────────────────────────────────────

  /** The token of the call where the entry that made it may still be on its way here, else null. */
  unknownYet(call: ApiCall): string | null {
    const token = tokenOf(call);
    if (token === undefined) return null;
    const { auth, tokens } = this;
    // The usual case first.
    if (tokens.caller(token, auth.revision) !== null) return null;
    const bornAt = tokens.bornAt(token);
    return bornAt > 0 && bornAt >= this.parts.appliedIndex() ? token : null;
  }

  /** Keeps the call until its token is known or can not be any more; false where too many wait already. */
  wait(token: string, pending: PendingCall): boolean {
    return this.waits.add(token, pending);
  }
}

/** As etcd's Go client and its gateway name it. */
function tokenOf(call: Credentials): string | undefined {
  const token = call.header('token');
  if (token !== undefined) return token;
  const authorization = call.header('authorization');
  return authorization?.startsWith('Bearer ') === true ? authorization.slice(7) : authorization;
}

/** etcd answers some calls of Maintenance with errors that its transport does not know. */
function raw(error: EtcdError): EtcdError {
  let known = RAW.get(error);
  if (known === undefined) {
    known = unknownError(error.message.replace(/^etcdserver: /, 'auth: '));
    RAW.set(error, known);
  }
  return known;
}

const RAW = new Map<EtcdError, EtcdError>();

/** Stands before handlers: gives one of its own, or the one it was given where it has nothing to do there. */
export interface Guard {
  guard(path: string, handler: ApiHandler): ApiHandler;
}

/** Registers handlers, each behind the rule of its method. */
export class GuardedServer implements ApiServer {
  private readonly inner: ApiServer;
  private readonly access: Access;
  private readonly guards: readonly Guard[];
  private readonly handlers = new Map<string, ApiHandler>();

  /** `guards`: what else stands before a handler, the innermost first. */
  constructor(inner: ApiServer, access: Access, guards: readonly Guard[] = []) {
    this.inner = inner;
    this.access = access;
    this.guards = guards;
  }

  handle(path: string, handler: ApiHandler): void {
    const right = ACCESS_RULES[path];
    assert(right !== undefined, `no rule says who may call ${path}`);
    let guarded = right === 'open' ? handler : new GuardedHandler(this.access, right, handler);
    for (const guard of this.guards) guarded = guard.guard(path, guarded);
    this.handlers.set(path, guarded);
    this.inner.handle(path, guarded);
  }

  /** The handler of a method behind its rule, for calls that do not come over gRPC. */
  handlerOf(path: string): ApiHandler | undefined {
    return this.handlers.get(path);
  }

  flush(): void {
    this.inner.flush();
  }
}

/** While authentication is off this costs a look at one field. */
class GuardedHandler implements ApiHandler {
  readonly kind: 'unary' | 'stream';
  private readonly access: Access;
  private readonly right: Right;
  private readonly inner: ApiHandler;
  /** Where calls go on that waited for their token. */
  private readonly decided: ApiHandler;

  constructor(access: Access, right: Right, inner: ApiHandler) {
    this.decided = {
      kind: inner.kind,
      opened: (call) => inner.opened?.(call),
      message: (call, bytes, start, end) => this.judge(call, bytes, start, end),
      halfClosed: (call) => inner.halfClosed?.(call),
    };
    this.kind = inner.kind;
    this.access = access;
    this.right = right;
    this.inner = inner;
  }

  opened(call: ApiCall): void {
    if (this.access.auth.enabled && this.mustWait(call, true)) return;
    this.inner.opened?.(call);
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    if (!this.access.auth.enabled) {
      this.inner.message(call, bytes, start, end);
      return;
    }
    if (!call.isOpen) return;
    if (call.context instanceof PendingCall || (this.kind === 'unary' && this.mustWait(call, false))) {
      (call.context as PendingCall).message(bytes, start, end);
      return;
    }
    this.judge(call, bytes, start, end);
  }

  private judge(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const error = this.access.ruleError(this.right, call);
    if (error === null) this.inner.message(call, bytes, start, end);
    else call.fail(error.code, error.message);
  }

  halfClosed(call: ApiCall): void {
    if (call.context instanceof PendingCall) call.context.halfClosed();
    else this.inner.halfClosed?.(call);
  }

  drained(call: ApiCall): void {
    if (!(call.context instanceof PendingCall)) this.inner.drained?.(call);
  }

  closed(call: ApiCall): void {
    if (call.context instanceof PendingCall) call.context.leave();
    else this.inner.closed?.(call);
  }

  private mustWait(call: ApiCall, opens: boolean): boolean {
    const token = this.access.unknownYet(call);
    if (token === null) return false;
    const pending = new PendingCall(call, this.decided, opens);
    if (!this.access.wait(token, pending)) return false;
    call.context = pending;
    return true;
  }
}
