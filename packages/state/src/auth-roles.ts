/** Roles as the log changes them. Each function returns why not, or null once it is done. */
import {
  AuthPermission,
  AuthRole,
  type AuthRoleGrantPermissionRequest,
  type AuthRoleRevokePermissionRequest,
  AuthUser,
  ErrInvalidAuthMgmt,
  ErrPermissionNotGiven,
  ErrPermissionNotGranted,
  ErrRoleAlreadyExist,
  ErrRoleEmpty,
  ErrRoleNotFound,
  type EtcdError,
} from '@etsd/proto';
import { hasRole, type Roles, type Users } from './auth-users.ts';
import { isGrantable } from './permissions.ts';

export function addRole(roles: Roles, name: string): EtcdError | null {
  if (name === '') return ErrRoleEmpty;
  if (roles.get(name) !== undefined) return ErrRoleAlreadyExist;
  roles.put(name, AuthRole.create({ name: Buffer.from(name, 'utf8') }));
  return null;
}

/** Deletes a role, also from the users who have it. */
export function deleteRole(roles: Roles, users: Users, name: string): EtcdError | null {
  if (roles.get(name) === undefined) return ErrRoleNotFound;
  roles.delete(name);
  for (const userName of users.names()) {
    const user = users.get(userName) as AuthUser;
    if (!hasRole(user, name)) continue;
    users.put(userName, AuthUser.create({ ...user, roles: user.roles.filter((other) => other !== name) }));
  }
  return null;
}

export function grantPermission(roles: Roles, request: AuthRoleGrantPermissionRequest): EtcdError | null {
  const { name, perm } = request;
  if (perm === null) return ErrPermissionNotGiven;
  if (!isGrantable(perm.key, perm.rangeEnd)) return ErrInvalidAuthMgmt;
  const role = roles.get(name);
  if (role === undefined) return ErrRoleNotFound;
  roles.put(name, AuthRole.create({ ...role, keyPermission: withPermission(role.keyPermission, perm) }));
  return null;
}

export function revokePermission(roles: Roles, request: AuthRoleRevokePermissionRequest): EtcdError | null {
  const role = roles.get(request.role);
  if (role === undefined) return ErrRoleNotFound;
  const kept = role.keyPermission.filter(
    ({ key, rangeEnd }) => !key.equals(request.key) || !rangeEnd.equals(request.rangeEnd),
  );
  if (kept.length === role.keyPermission.length) return ErrPermissionNotGranted;
  roles.put(request.role, AuthRole.create({ ...role, keyPermission: kept }));
  return null;
}

/**
 * The permissions, ordered by key, with one more. Like etcd this looks for the range at the first permission with that
 * key only: there it takes another type, anywhere else it is a further permission.
 */
function withPermission(present: readonly AuthPermission[], given: AuthPermission): AuthPermission[] {
  const added = AuthPermission.create({
    permType: given.permType,
    key: Buffer.from(given.key),
    rangeEnd: Buffer.from(given.rangeEnd),
  });
  const at = present.findIndex(({ key }) => key.compare(given.key) >= 0);
  const first = present[at];
  if (first?.key.equals(given.key) && first.rangeEnd.equals(given.rangeEnd)) return present.with(at, added);
  return [...present, added].sort((a, b) => a.key.compare(b.key));
}
