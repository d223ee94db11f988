/**
 * `etcdserverpb.Auth`: users, roles and logins. Every request goes through the log and is answered with what applying it
 * gave, so that whoever was answered knows that it holds everywhere. Passwords never enter the log: they are hashed, or
 * checked, by the member that is asked.
 */
import {
  AuthDisableRequest,
  AuthDisableResponse,
  AuthEnableRequest,
  AuthEnableResponse,
  AuthenticateRequest,
  AuthenticateResponse,
  AuthRoleAddRequest,
  AuthRoleAddResponse,
  AuthRoleDeleteRequest,
  AuthRoleDeleteResponse,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthRoleGrantPermissionResponse,
  AuthRoleListRequest,
  AuthRoleListResponse,
  AuthRoleRevokePermissionRequest,
  AuthRoleRevokePermissionResponse,
  AuthStatusRequest,
  AuthStatusResponse,
  AuthUserAddRequest,
  AuthUserAddResponse,
  AuthUserChangePasswordRequest,
  AuthUserChangePasswordResponse,
  AuthUserDeleteRequest,
  AuthUserDeleteResponse,
  AuthUserGetRequest,
  AuthUserGetResponse,
  AuthUserGrantRoleRequest,
  AuthUserGrantRoleResponse,
  AuthUserListRequest,
  AuthUserListResponse,
  AuthUserRevokeRoleRequest,
  AuthUserRevokeRoleResponse,
  ErrAuthFailed,
  ErrAuthNotEnabled,
  ErrAuthOldRevision,
  ErrNoPasswordUser,
  type EtcdError,
  InternalAuthenticateRequest,
  type MessageClass,
  RaftRequestField,
  type ResponseHeader,
  unknownError,
} from '@etsd/proto';
import { hostOf } from '@etsd/rpc';
import type { ApiWaiter, MemberContext } from '../context.ts';
import { type LoginGuard, shortName } from '../guard/login-guard.ts';
import { LoginPace } from '../guard/login-pace.ts';
import type { Passwords } from '../passwords.ts';
import { NOBODY } from '../tokens.ts';
import { proposeRequest } from './guards.ts';
import { responseHeader } from './headers.ts';
import { type Reply, registerUnary } from './unary.ts';

const ErrVerifyOnly = unknownError('auth: token signing attempted with verify-only key');
/** Times a login is tried again because users or roles changed while it was under way. */
const LOGIN_ATTEMPTS_MAX = 10;

interface Answer {
  header: ResponseHeader | null;
}

/** `processors`: how many the machine has; logins are paced by them. */
export function registerAuth(
  context: MemberContext,
  passwords: Passwords,
  logins: LoginGuard | null = null,
  processors = 2,
): void {
  const service = new AuthService(context, passwords, logins, processors);
  service.plain('AuthEnable', RaftRequestField.AuthEnable, AuthEnableRequest, AuthEnableResponse);
  service.plain('AuthDisable', RaftRequestField.AuthDisable, AuthDisableRequest, AuthDisableResponse);
  service.plain('AuthStatus', RaftRequestField.AuthStatus, AuthStatusRequest, AuthStatusResponse);
  service.plain('UserGet', RaftRequestField.AuthUserGet, AuthUserGetRequest, AuthUserGetResponse);
  service.plain('UserList', RaftRequestField.AuthUserList, AuthUserListRequest, AuthUserListResponse);
  service.plain('UserDelete', RaftRequestField.AuthUserDelete, AuthUserDeleteRequest, AuthUserDeleteResponse);
  service.plain(
    'UserGrantRole',
    RaftRequestField.AuthUserGrantRole,
    AuthUserGrantRoleRequest,
    AuthUserGrantRoleResponse,
  );
  service.plain(
    'UserRevokeRole',
    RaftRequestField.AuthUserRevokeRole,
    AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse,
  );
  service.plain('RoleAdd', RaftRequestField.AuthRoleAdd, AuthRoleAddRequest, AuthRoleAddResponse);
  service.plain('RoleGet', RaftRequestField.AuthRoleGet, AuthRoleGetRequest, AuthRoleGetResponse);
  service.plain('RoleList', RaftRequestField.AuthRoleList, AuthRoleListRequest, AuthRoleListResponse);
  service.plain('RoleDelete', RaftRequestField.AuthRoleDelete, AuthRoleDeleteRequest, AuthRoleDeleteResponse);
  service.plain(
    'RoleGrantPermission',
    RaftRequestField.AuthRoleGrantPermission,
    AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse,
  );
  service.plain(
    'RoleRevokePermission',
    RaftRequestField.AuthRoleRevokePermission,
    AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse,
  );
  registerUnary(context, {
    path: path('UserAdd'),
    decode: AuthUserAddRequest.decode,
    run: (request, reply) => service.addUser(request, reply),
  });
  registerUnary(context, {
    path: path('UserChangePassword'),
    decode: AuthUserChangePasswordRequest.decode,
    run: (request, reply) => service.changePassword(request, reply),
  });
  registerUnary(context, {
    path: path('Authenticate'),
    decode: AuthenticateRequest.decode,
    run: (request, reply) => service.authenticate(request, reply, 1),
  });
}

function path(method: string): string {
  return `/etcdserverpb.Auth/${method}`;
}

/** A login whose password was right when users and roles were at this revision. */
interface CheckedLogin {
  readonly name: string;
  readonly password: string;
  readonly revision: number;
}

class AuthService {
  private readonly context: MemberContext;
  private readonly passwords: Passwords;
  private readonly logins: LoginGuard | null;
  private readonly pace: LoginPace;

  constructor(context: MemberContext, passwords: Passwords, logins: LoginGuard | null, processors: number) {
    this.context = context;
    this.logins = logins;
    this.passwords = passwords;
    this.pace = new LoginPace(context.world, processors);
    context.replication.accompanyWrites(() => this.pace.ride());
  }

  /** A method whose request goes into the log as it is. */
  plain<Request, Response extends Answer>(
    method: string,
    field: number,
    request: MessageClass<Request>,
    response: MessageClass<Response>,
  ): void {
    registerUnary(this.context, {
      path: path(method),
      decode: request.decode,
      run: (message, reply) => this.propose(field, request.encode(message), response, reply),
    });
  }

  addUser(request: AuthUserAddRequest, reply: Reply): void {
    const field = RaftRequestField.AuthUserAdd;
    const propose = () => this.propose(field, AuthUserAddRequest.encode(request), AuthUserAddResponse, reply);
    if (request.options?.noPassword !== true) this.hashFor(request, reply, propose);
    else propose();
  }

  changePassword(request: AuthUserChangePasswordRequest, reply: Reply): void {
    this.hashFor(request, reply, () => {
      const body = AuthUserChangePasswordRequest.encode(request);
      this.propose(RaftRequestField.AuthUserChangePassword, body, AuthUserChangePasswordResponse, reply);
    });
  }

  /** Puts the hash in place of the password, for who may have it done: hashing is dear. */
  private hashFor(request: { password: string; hashedPassword: string }, reply: Reply, go: () => void): void {
    const { access, replication } = this.context;
    const hash = () => {
      const refused = access.rootError(reply.origin);
      if (refused !== null) {
        reply.fail(refused);
        return;
      }
      this.passwords.hash(request.password, (error, hashed) => {
        if (error !== null) {
          reply.fail(error);
          return;
        }
        request.password = '';
        request.hashedPassword = Buffer.from(hashed).toString('base64');
        go();
      });
    };
    if (access.auth.enabled) replication.readBarrier({ done: hash, fail: (error) => reply.fail(error) });
    else hash();
  }

  /** Checks the password against what is stored everywhere by now, then has all members agree on the login. */
  authenticate(request: AuthenticateRequest, reply: Reply, attempt: number): void {
    const fail = (error: EtcdError) => reply.fail(error);
    const { replication } = this.context;
    replication.readBarrier({ done: () => this.checkPassword(request, reply, attempt), fail });
  }

  private checkPassword({ name, password }: AuthenticateRequest, reply: Reply, attempt: number): void {
    const { access, logger } = this.context;
    const { auth } = access;
    if (!auth.enabled) {
      reply.fail(ErrAuthNotEnabled);
      return;
    }
    const { peer } = reply.origin;
    const unheard = this.logins?.refusal(name, peer) ?? null;
    if (unheard !== null) {
      reply.fail(unheard);
      return;
    }
    const refuse = (error: EtcdError) => {
      logger.log('warn', 'invalid authentication request', { user: shortName(name), error: error.message });
      this.logins?.wrong(name, peer);
      reply.fail(error);
    };
    const user = auth.user(name);
    if (user?.options?.noPassword === true) {
      refuse(ErrNoPasswordUser);
      return;
    }
    const { revision } = auth;
    // A name that does not exist costs as much time as one that does: a hash that nobody has is checked.
    const stored = user === undefined ? null : user.password.toString('latin1');
    this.passwords.check({ user: name, password, stored, origin: hostOf(peer) }, (error, isRight) => {
      if (error !== null) reply.fail(error);
      else if (!isRight) refuse(ErrAuthFailed);
      else {
        this.logins?.right(name, peer);
        if (!reply.isOpen) return;
        const checked = { name, password, revision };
        this.pace.add({
          get isOpen() {
            return reply.isOpen;
          },
          begin: () => this.proposeLogin(checked, reply, attempt),
        });
      }
    });
  }

  private proposeLogin(checked: CheckedLogin, reply: Reply, attempt: number): void {
    const { name, password, revision } = checked;
    const { access } = this.context;
    const { auth, tokens } = access;
    const body = InternalAuthenticateRequest.encode(
      InternalAuthenticateRequest.create({ name, simpleToken: tokens.prefix() }),
    );
    const waiter: ApiWaiter = {
      done: (result) => {
        this.pace.ended();
        // What was checked may not be so any more.
        if (auth.revision !== revision) {
          if (attempt === LOGIN_ATTEMPTS_MAX) reply.fail(ErrAuthOldRevision);
          else this.authenticate(AuthenticateRequest.create({ name, password }), reply, attempt + 1);
          return;
        }
        const token = tokens.issue(name, revision, (result as AuthenticateResponse).token);
        if (token === null) {
          reply.fail(ErrVerifyOnly);
          return;
        }
        const response = AuthenticateResponse.create({ header: responseHeader(this.context), token });
        reply.answer(AuthenticateResponse.encode(response));
      },
      fail: (error) => {
        this.pace.ended();
        reply.fail(error);
      },
    };
    proposeRequest(this.context, RaftRequestField.Authenticate, body, 0, body.length, waiter, NOBODY);
  }

  private propose<Response extends Answer>(
    field: number,
    body: Buffer,
    response: MessageClass<Response>,
    reply: Reply,
  ): void {
    const waiter: ApiWaiter = {
      done: (result) => {
        const answer = result as Response;
        answer.header = responseHeader(this.context);
        reply.answer(response.encode(answer));
      },
      fail: (error) => reply.fail(error),
    };
    // The token is looked up now: time may have passed since the call came.
    const caller = this.context.access.callerOf(reply.origin);
    proposeRequest(this.context, field, body, 0, body.length, waiter, caller);
  }
}
