/** `etcdserverpb.Auth` of a member without authentication: it says so, and refuses everything else by a typed error. */
import { AuthStatusRequest, AuthStatusResponse, ErrAuthNotEnabled } from '@etsd/proto';
import { ErrAuthUnavailable } from '@etsd/state';
import type { MemberContext } from '../context.ts';
import { responseHeader } from './headers.ts';
import { registerUnary } from './unary.ts';

const UNAVAILABLE = [
  'AuthEnable',
  'UserAdd',
  'UserGet',
  'UserList',
  'UserDelete',
  'UserChangePassword',
  'UserGrantRole',
  'UserRevokeRole',
  'RoleAdd',
  'RoleGet',
  'RoleList',
  'RoleDelete',
  'RoleGrantPermission',
  'RoleRevokePermission',
];

export function registerAuthStatus(context: MemberContext): void {
  registerUnary(context, {
    path: '/etcdserverpb.Auth/AuthStatus',
    decode: AuthStatusRequest.decode,
    run(_request, reply) {
      const { enabled, revision } = context.state.auth;
      const response = AuthStatusResponse.create({ header: responseHeader(context), enabled, authRevision: revision });
      reply.answer(AuthStatusResponse.encode(response));
    },
  });
  // What a client hears of a member whose authentication is off; so it goes on without a token.
  refuse(context, 'Authenticate', ErrAuthNotEnabled);
  refuse(context, 'AuthDisable', ErrAuthUnavailable);
  for (const method of UNAVAILABLE) refuse(context, method, ErrAuthUnavailable);
}

function refuse(context: MemberContext, method: string, error: typeof ErrAuthUnavailable): void {
  registerUnary(context, {
    path: `/etcdserverpb.Auth/${method}`,
    decode: () => null,
    run: (_request, reply) => reply.fail(error),
  });
}
