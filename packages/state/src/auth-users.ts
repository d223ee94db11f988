/** Users as the log changes them. Each function returns why not, or null once it is done. */
import { EMPTY } from '@etsd/base';
import {
  type AuthRole,
  AuthUser,
  AuthUserAddOptions,
  type AuthUserAddRequest,
  type AuthUserChangePasswordRequest,
  ErrNoPasswordUser,
  ErrRoleNotFound,
  ErrRoleNotGranted,
  ErrUserAlreadyExist,
  ErrUserEmpty,
  ErrUserNotFound,
  type EtcdError,
} from '@etsd/proto';
import { type AuthRecords, compareNames } from './auth-records.ts';

export const ROOT = 'root';

export type Users = AuthRecords<AuthUser>;
export type Roles = AuthRecords<AuthRole>;

/** Base 64 as Go reads it: padded to fours. */
const BASE_64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export function hasRole(user: AuthUser, role: string): boolean {
  return user.roles.includes(role);
}

export function addUser(users: Users, request: AuthUserAddRequest): EtcdError | null {
  const { name } = request;
  if (name === '') return ErrUserEmpty;
  if (users.get(name) !== undefined) return ErrUserAlreadyExist;
  // Written also where it says nothing, as etcd does.
  const options = AuthUserAddOptions.create({ noPassword: request.options?.noPassword ?? false });
  const password = options.noPassword ? EMPTY : passwordOf(request.hashedPassword);
  if (password === null) return ErrNoPasswordUser;
  users.put(name, AuthUser.create({ name: Buffer.from(name, 'utf8'), password, options }));
  return null;
}

export function changePassword(users: Users, request: AuthUserChangePasswordRequest): EtcdError | null {
  const user = users.get(request.name);
  if (user === undefined) return ErrUserNotFound;
  const password = user.options?.noPassword === true ? EMPTY : passwordOf(request.hashedPassword);
  if (password === null) return ErrNoPasswordUser;
  const { roles, options } = user;
  users.put(request.name, AuthUser.create({ name: Buffer.from(request.name, 'utf8'), password, roles, options }));
  return null;
}

export function deleteUser(users: Users, name: string): EtcdError | null {
  if (users.get(name) === undefined) return ErrUserNotFound;
  users.delete(name);
  return null;
}

/** The answer is `changed: false` where the user has the role already. */
export function grantRole(users: Users, roles: Roles, name: string, role: string): EtcdError | { changed: boolean } {
  const user = users.get(name);
  if (user === undefined) return ErrUserNotFound;
  // The role root need not exist.
  if (role !== ROOT && roles.get(role) === undefined) return ErrRoleNotFound;
  if (hasRole(user, role)) return { changed: false };
  const granted = [...user.roles, role].sort(compareNames);
  users.put(name, AuthUser.create({ ...user, roles: granted }));
  return { changed: true };
}

export function revokeRole(users: Users, name: string, role: string): EtcdError | null {
  const user = users.get(name);
  if (user === undefined) return ErrUserNotFound;
  if (!hasRole(user, role)) return ErrRoleNotGranted;
  users.put(name, AuthUser.create({ ...user, roles: user.roles.filter((other) => other !== role) }));
  return null;
}

/**
 * The hash that the asked member made, or null where it can not be read. An entry of a version before 3.5 has the
 * password in clear instead, which every member would hash with a salt of its own: such a user has no password that
 * fits until it is given a new one.
 */
function passwordOf(hashedPassword: string): Buffer | null {
  const plain = hashedPassword.replaceAll(/[\r\n]/g, '');
  return BASE_64.test(plain) ? Buffer.from(plain, 'base64') : null;
}
