import type { Key } from '@etsd/base';
import {
  AuthDisableResponse,
  AuthEnableResponse,
  AuthenticateResponse,
  AuthRole,
  AuthRoleAddRequest,
  AuthRoleAddResponse,
  AuthRoleDeleteRequest,
  AuthRoleDeleteResponse,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthRoleGrantPermissionResponse,
  AuthRoleListResponse,
  AuthRoleRevokePermissionRequest,
  AuthRoleRevokePermissionResponse,
  AuthStatusResponse,
  AuthUser,
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
  AuthUserListResponse,
  AuthUserRevokeRoleRequest,
  AuthUserRevokeRoleResponse,
  ErrAuthFailed,
  ErrAuthNotEnabled,
  ErrAuthOldRevision,
  ErrInvalidAuthMgmt,
  ErrPermissionDenied,
  ErrRoleNotFound,
  ErrRootRoleNotExist,
  ErrRootUserNotExist,
  ErrUnknownMethod,
  ErrUserEmpty,
  ErrUserNotFound,
  EtcdError,
  InternalAuthenticateRequest,
  RaftRequestField,
} from '@etsd/proto';
import { AuthRecords } from './auth-records.ts';
import { addRole, deleteRole, grantPermission, revokePermission } from './auth-roles.ts';
import { addUser, changePassword, deleteUser, grantRole, hasRole, ROOT, revokeRole } from './auth-users.ts';
import { UserPermissions } from './permissions.ts';
import type { BackendPort } from './ports.ts';
import type { Waiter } from './results.ts';

/** Revision of an auth store that was never changed. */
export const FIRST_AUTH_REVISION = 1;

const AUTH = 'auth';
const ENABLED_KEY = Buffer.from('authEnabled');
const REVISION_KEY = Buffer.from('authRevision');

/** Who keeps tokens, and hears while entries are applied what concerns them. */
export interface AuthListener {
  /** Somebody proved to be this user: the token stands for it on every member from now on. */
  authenticated(user: string, token: string): void;
  /** Password changed, or user deleted: its tokens are void. */
  userChanged(user: string): void;
  enabledChanged(enabled: boolean): void;
}

/** Who a request is from, as its entry in the log says. */
export interface Caller {
  /** Empty: nobody. */
  username: string;
  /** The auth revision at which the member that was asked knew the user; 0: nobody. */
  authRevision: number;
}

/** Whether the number of a field of InternalRaftRequest is one of authentication's. */
export function isAuthField(field: number): boolean {
  return field >= 1000 && field < 1300;
}

/**
 * Users, roles and whether anybody has to be one: what the log made of them, the same on every member, byte for byte as
 * etcd 3.5 keeps it in the buckets `auth`, `authUsers` and `authRoles`.
 */
export class AuthStore {
  enabled = false;
  /** Grows with every change of users and roles, and when authentication is turned off. */
  revision = FIRST_AUTH_REVISION;
  listener: AuthListener | null = null;
  private readonly backend: BackendPort;
  private readonly users: AuthRecords<AuthUser>;
  private readonly roles: AuthRecords<AuthRole>;
  /** Of users whose permissions were asked for since they last changed. */
  private readonly permissions = new Map<string, UserPermissions>();

  constructor(backend: BackendPort) {
    this.backend = backend;
    this.users = new AuthRecords(backend, 'authUsers', AuthUser);
    this.roles = new AuthRecords(backend, 'authRoles', AuthRole);
    this.read();
    if (backend.get(AUTH, REVISION_KEY) === null) this.saveRevision();
  }

  /** Reads what the backend says now. Tokens of users who are gone, or have another password, are void then too. */
  reload(): void {
    const { enabled } = this;
    const passwords = this.userNames().map((name) => [name, this.user(name)?.password] as const);
    this.users.reload();
    this.roles.reload();
    this.permissions.clear();
    this.read();
    if (this.enabled !== enabled) this.listener?.enabledChanged(this.enabled);
    for (const [name, password] of passwords) {
      if (password === undefined || this.user(name)?.password.equals(password) !== true)
        this.listener?.userChanged(name);
    }
  }

  /** The record, which is not to be changed. */
  user(name: string): AuthUser | undefined {
    return this.users.get(name);
  }

  /** The record, which is not to be changed. */
  role(name: string): AuthRole | undefined {
    return this.roles.get(name);
  }

  /** In the order of their bytes. */
  userNames(): string[] {
    return this.users.names();
  }

  /** In the order of their bytes. */
  roleNames(): string[] {
    return this.roles.names();
  }

  /** Whether the user exists and has the role root. */
  isRoot(name: string): boolean {
    return this.hasRole(name, ROOT);
  }

  /** Whether the user exists and has the role. */
  hasRole(name: string, role: string): boolean {
    const user = this.users.get(name);
    return user !== undefined && hasRole(user, role);
  }

  /** Why the user may not read the range, or null. While authentication is off everybody may. */
  readError(user: string, authRevision: number, key: Key, rangeEnd: Key): EtcdError | null {
    if (!this.enabled) return null;
    const error = this.identityError(user, authRevision);
    if (error !== null || this.isRoot(user)) return error;
    return this.permissionsOf(user).read.covers(key, rangeEnd) ? null : ErrPermissionDenied;
  }

  /** Why the user may not write or delete the range, or null. While authentication is off everybody may. */
  writeError(user: string, authRevision: number, key: Key, rangeEnd: Key): EtcdError | null {
    if (!this.enabled) return null;
    const error = this.identityError(user, authRevision);
    if (error !== null || this.isRoot(user)) return error;
    return this.permissionsOf(user).write.covers(key, rangeEnd) ? null : ErrPermissionDenied;
  }

  /** Why the user may not do what only root may, or null. Like etcd this does not ask how old the revision is. */
  adminError(user: string, _authRevision: number): EtcdError | null {
    if (!this.enabled) return null;
    if (user === '') return ErrUserEmpty;
    return this.isRoot(user) ? null : ErrPermissionDenied;
  }

  /**
   * Applies a request of the Auth service: the bytes of its message in `data[start, end)`, whose field in the entry is
   * `field`, in the entry with this index. Results are response messages without a header.
   */
  apply(
    index: number,
    field: number,
    data: Buffer,
    start: number,
    end: number,
    caller: Caller,
    waiter: Waiter | null,
  ): void {
    const answer = this.answerTo(index, field, data.subarray(start, end), caller);
    if (answer instanceof EtcdError) waiter?.fail(answer);
    else waiter?.done(answer);
  }

  private answerTo(index: number, field: number, body: Buffer, caller: Caller): unknown {
    switch (field) {
      case RaftRequestField.Authenticate:
        return this.authenticate(index, InternalAuthenticateRequest.decode(body));
      case RaftRequestField.AuthUserGet:
        return this.getUser(AuthUserGetRequest.decode(body).name, caller);
      case RaftRequestField.AuthRoleGet:
        return this.getRole(AuthRoleGetRequest.decode(body).role, caller);
      default:
        return this.adminError(caller.username, caller.authRevision) ?? this.administer(field, body);
    }
  }

  /** What only root may do, done. */
  private administer(field: number, body: Buffer): unknown {
    switch (field) {
      case RaftRequestField.AuthEnable:
        return this.enable() ?? new AuthEnableResponse();
      case RaftRequestField.AuthDisable:
        this.disable();
        return new AuthDisableResponse();
      case RaftRequestField.AuthStatus:
        return AuthStatusResponse.create({ enabled: this.enabled, authRevision: this.revision });
      case RaftRequestField.AuthUserList:
        return AuthUserListResponse.create({ users: this.userNames() });
      case RaftRequestField.AuthRoleList:
        return AuthRoleListResponse.create({ roles: this.roleNames() });
      default:
        return field < RaftRequestField.AuthRoleAdd ? this.changeUser(field, body) : this.changeRole(field, body);
    }
  }

  private changeUser(field: number, body: Buffer): unknown {
    const { users } = this;
    switch (field) {
      case RaftRequestField.AuthUserAdd:
        return this.changed(addUser(users, AuthUserAddRequest.decode(body)), new AuthUserAddResponse());
      case RaftRequestField.AuthUserDelete: {
        const { name } = AuthUserDeleteRequest.decode(body);
        if (this.enabled && name === ROOT) return ErrInvalidAuthMgmt;
        return this.changedUser(name, deleteUser(users, name), new AuthUserDeleteResponse());
      }
      case RaftRequestField.AuthUserChangePassword: {
        const request = AuthUserChangePasswordRequest.decode(body);
        return this.changedUser(request.name, changePassword(users, request), new AuthUserChangePasswordResponse());
      }
      case RaftRequestField.AuthUserGrantRole: {
        const { user, role } = AuthUserGrantRoleRequest.decode(body);
        const outcome = grantRole(users, this.roles, user, role);
        if (outcome instanceof EtcdError) return outcome;
        if (outcome.changed) this.changed(null, null);
        return new AuthUserGrantRoleResponse();
      }
      case RaftRequestField.AuthUserRevokeRole: {
        const { name, role } = AuthUserRevokeRoleRequest.decode(body);
        if (this.enabled && name === ROOT && role === ROOT) return ErrInvalidAuthMgmt;
        return this.changed(revokeRole(users, name, role), new AuthUserRevokeRoleResponse());
      }
      default:
        return ErrUnknownMethod;
    }
  }

  private changeRole(field: number, body: Buffer): unknown {
    const { roles } = this;
    switch (field) {
      case RaftRequestField.AuthRoleAdd:
        return this.changed(addRole(roles, AuthRoleAddRequest.decode(body).name), new AuthRoleAddResponse());
      case RaftRequestField.AuthRoleDelete: {
        const { role } = AuthRoleDeleteRequest.decode(body);
        if (this.enabled && role === ROOT) return ErrInvalidAuthMgmt;
        return this.changed(deleteRole(roles, this.users, role), new AuthRoleDeleteResponse());
      }
      case RaftRequestField.AuthRoleGrantPermission: {
        const error = grantPermission(roles, AuthRoleGrantPermissionRequest.decode(body));
        return this.changed(error, new AuthRoleGrantPermissionResponse());
      }
      case RaftRequestField.AuthRoleRevokePermission: {
        const error = revokePermission(roles, AuthRoleRevokePermissionRequest.decode(body));
        return this.changed(error, new AuthRoleRevokePermissionResponse());
      }
      default:
        return ErrUnknownMethod;
    }
  }

  // -- who and whether ------------------------------------------------------------------------------------------------

  private enable(): EtcdError | null {
    if (this.enabled) return null;
    const root = this.users.get(ROOT);
    if (root === undefined) return ErrRootUserNotExist;
    if (!hasRole(root, ROOT)) return ErrRootRoleNotExist;
    this.backend.put(AUTH, ENABLED_KEY, Buffer.from([1]));
    this.enabled = true;
    this.listener?.enabledChanged(true);
    return null;
  }

  private disable(): void {
    if (!this.enabled) return;
    this.backend.put(AUTH, ENABLED_KEY, Buffer.from([0]));
    this.enabled = false;
    this.changed(null, null);
    this.listener?.enabledChanged(false);
  }

  /** The password was checked by the member that was asked, before it wrote the entry. */
  private authenticate(index: number, request: InternalAuthenticateRequest): AuthenticateResponse | EtcdError {
    if (!this.enabled) return ErrAuthNotEnabled;
    const user = this.users.get(request.name);
    if (user === undefined || user.options?.noPassword === true) return ErrAuthFailed;
    const token = `${request.simpleToken}.${index - 1}`;
    this.listener?.authenticated(request.name, token);
    return AuthenticateResponse.create({ token });
  }

  private getUser(name: string, caller: Caller): AuthUserGetResponse | EtcdError {
    const error = this.adminError(caller.username, caller.authRevision);
    if (error !== null && name !== caller.username) return error;
    const user = this.users.get(name);
    return user === undefined ? ErrUserNotFound : AuthUserGetResponse.create({ roles: user.roles });
  }

  private getRole(name: string, caller: Caller): AuthRoleGetResponse | EtcdError {
    const error = this.adminError(caller.username, caller.authRevision);
    if (error !== null && !this.hasRole(caller.username, name)) return error;
    const role = this.roles.get(name);
    if (role === undefined) return ErrRoleNotFound;
    return AuthRoleGetResponse.create({ perm: role.keyPermission });
  }

  private identityError(user: string, authRevision: number): EtcdError | null {
    if (authRevision === 0) return ErrUserEmpty;
    if (authRevision < this.revision) return ErrAuthOldRevision;
    return this.users.get(user) === undefined ? ErrPermissionDenied : null;
  }

  private permissionsOf(name: string): UserPermissions {
    let permissions = this.permissions.get(name);
    if (permissions === undefined) {
      const roles = this.users.get(name)?.roles ?? [];
      permissions = new UserPermissions(roles.flatMap((role) => this.roles.get(role)?.keyPermission ?? []));
      this.permissions.set(name, permissions);
    }
    return permissions;
  }

  // -- changes --------------------------------------------------------------------------------------------------------

  /** What to answer to a change that succeeded, unless there was an error. */
  private changed<T>(error: EtcdError | null, response: T): EtcdError | T {
    if (error !== null) return error;
    this.permissions.clear();
    this.revision++;
    this.saveRevision();
    return response;
  }

  /** The same, for what makes a user's tokens void. */
  private changedUser<T>(name: string, error: EtcdError | null, response: T): EtcdError | T {
    const answer = this.changed(error, response);
    if (error === null) this.listener?.userChanged(name);
    return answer;
  }

  private saveRevision(): void {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(Math.floor(this.revision / 2 ** 32), 0);
    bytes.writeUInt32BE(this.revision % 2 ** 32, 4);
    this.backend.put(AUTH, REVISION_KEY, bytes);
  }

  private read(): void {
    const revision = this.backend.get(AUTH, REVISION_KEY);
    const stored = revision === null ? 0 : revision.readUInt32BE(0) * 2 ** 32 + revision.readUInt32BE(4);
    this.revision = Math.max(stored, FIRST_AUTH_REVISION);
    const enabled = this.backend.get(AUTH, ENABLED_KEY);
    this.enabled = enabled !== null && enabled.length === 1 && enabled[0] === 1;
  }
}
