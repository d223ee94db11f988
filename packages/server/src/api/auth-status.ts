/**
 * `etcdserverpb.Auth` of a member without authentication: off, and without users and roles. What would add some is
 * refused by a typed error.
 */
import {
  AuthDisableRequest,
  AuthDisableResponse,
  AuthRoleListRequest,
  AuthRoleListResponse,
  AuthStatusRequest,
  AuthStatusResponse,
  AuthUserListRequest,
  AuthUserListResponse,
  ErrAuthNotEnabled,
  ErrRoleNotFound,
  ErrUserNotFound,
  type EtcdError,
} from '@etsd/proto';
import { ErrAuthUnavailable } from '@etsd/state';
import type { MemberContext } from '../context.ts';
import { responseHeader } from './headers.ts';
import { registerUnary } from './unary.ts';

const REFUSED: readonly (readonly [method: string, error: EtcdError])[] = [
  // What a client hears of a member whose authentication is off; it goes on without a token.
  ['Authenticate', ErrAuthNotEnabled],
  ['AuthEnable', ErrAuthUnavailable],
  ['UserAdd', ErrAuthUnavailable],
  ['UserGet', ErrUserNotFound],
  ['UserDelete', ErrUserNotFound],
  ['UserChangePassword', ErrUserNotFound],
  ['UserGrantRole', ErrUserNotFound],
  ['UserRevokeRole', ErrUserNotFound],
  ['RoleAdd', ErrAuthUnavailable],
  ['RoleGet', ErrRoleNotFound],
  ['RoleDelete', ErrRoleNotFound],
  ['RoleGrantPermission', ErrRoleNotFound],
  ['RoleRevokePermission', ErrRoleNotFound],
];

export function registerAuthStatus(context: MemberContext): void {
  const path = (method: string) => `/etcdserverpb.Auth/${method}`;
  registerUnary(context, {
    path: path('AuthStatus'),
    decode: AuthStatusRequest.decode,
    run(_request, reply) {
      const { enabled, revision } = context.state.auth;
      const response = AuthStatusResponse.create({ header: responseHeader(context), enabled, authRevision: revision });
      reply.answer(AuthStatusResponse.encode(response));
    },
  });
  registerUnary(context, {
    path: path('AuthDisable'),
    decode: AuthDisableRequest.decode,
    run: (_request, reply) =>
      reply.answer(AuthDisableResponse.encode(AuthDisableResponse.create({ header: responseHeader(context) }))),
  });
  registerUnary(context, {
    path: path('UserList'),
    decode: AuthUserListRequest.decode,
    run: (_request, reply) =>
      reply.answer(AuthUserListResponse.encode(AuthUserListResponse.create({ header: responseHeader(context) }))),
  });
  registerUnary(context, {
    path: path('RoleList'),
    decode: AuthRoleListRequest.decode,
    run: (_request, reply) =>
      reply.answer(AuthRoleListResponse.encode(AuthRoleListResponse.create({ header: responseHeader(context) }))),
  });
  for (const [method, error] of REFUSED) {
    registerUnary(context, { path: path(method), decode: () => null, run: (_request, reply) => reply.fail(error) });
  }
}
