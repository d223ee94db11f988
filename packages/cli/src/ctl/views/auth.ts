import { keyFromBytes, prefixEnd } from '@etsd/base';
import {
  type AuthPermission,
  AuthRoleGetResponse,
  AuthRoleListResponse,
  AuthStatusResponse,
  AuthUserGetResponse,
  AuthUserListResponse,
  type MessageClass,
  PermissionType,
  type ResponseHeader,
} from '@etsd/proto';
import { quote } from '../go.ts';
import { jsonMessage } from '../go-json.ts';
import type { View } from '../view.ts';
import { field, header } from './fields.ts';

/** An answer that says only that it was done. */
export function doneView<T extends { header: ResponseHeader | null }>(
  type: MessageClass<T>,
  response: T,
  sentence: string,
): View {
  return {
    simple: () => `${sentence}\n`,
    json: () => jsonMessage(type, response as object),
    fields: () => header(response.header),
    protobuf: () => type.encode(response),
  };
}

export function authStatusView(response: AuthStatusResponse): View {
  return {
    simple: () => `Authentication Status: ${response.enabled}\nAuthRevision: ${response.authRevision}\n`,
    json: () => jsonMessage(AuthStatusResponse, response),
    protobuf: () => AuthStatusResponse.encode(response),
  };
}

export function userView(response: AuthUserGetResponse, name: string): View {
  return {
    simple: () => `User: ${name}\nRoles:${response.roles.map((role) => ` ${role}`).join('')}\n`,
    json: () => jsonMessage(AuthUserGetResponse, response),
    protobuf: () => AuthUserGetResponse.encode(response),
  };
}

export function usersView(response: AuthUserListResponse): View {
  return {
    simple: () => response.users.map((name) => `${name}\n`).join(''),
    json: () => jsonMessage(AuthUserListResponse, response),
    protobuf: () => AuthUserListResponse.encode(response),
  };
}

export function rolesView(response: AuthRoleListResponse): View {
  return {
    simple: () => response.roles.map((name) => `${name}\n`).join(''),
    json: () => jsonMessage(AuthRoleListResponse, response),
    fields: () =>
      `${header(response.header)}"Roles" :${response.roles.map((name) => ` ${quote(Buffer.from(name))}`).join('')}\n`,
    protobuf: () => AuthRoleListResponse.encode(response),
  };
}

const PERMISSION_NAMES = Object.fromEntries(Object.entries(PermissionType).map(([name, number]) => [number, name]));

export function roleView(response: AuthRoleGetResponse, role: string): View {
  return {
    simpleIsBytes: true,
    simple: () => {
      const allows = (type: number): string =>
        response.perm
          .filter(({ permType }) => permType === type || permType === PermissionType.READWRITE)
          .map((permission) => `\t${rangeText(permission)}\n`)
          .join('');
      return `Role ${Buffer.from(role).toString('latin1')}\nKV Read:\n${allows(PermissionType.READ)}KV Write:\n${allows(PermissionType.WRITE)}`;
    },
    json: () => jsonMessage(AuthRoleGetResponse, response),
    fields: () =>
      header(response.header) +
      response.perm
        .map(
          ({ key, permType, rangeEnd }) =>
            field('PermType', ` ${PERMISSION_NAMES[permType]}`) +
            field('Key', quote(key)) +
            field('RangeEnd', quote(rangeEnd)),
        )
        .join(''),
    protobuf: () => AuthRoleGetResponse.encode(response),
  };
}

/** `foo`, `[foo, <open ended>`, or `[pre/, pre0) (prefix pre/)`. */
function rangeText({ key, rangeEnd }: AuthPermission): string {
  const start = keyFromBytes(key);
  const end = keyFromBytes(rangeEnd);
  if (end === '') return start;
  if (end === '\0') return `[${start}, <open ended>`;
  const asPrefix = prefixEnd(start) === end ? ` (prefix ${start})` : '';
  return `[${start}, ${end})${asPrefix}`;
}

/** As `rangeText`, for what was given on the command line. */
export function openText(key: Buffer, rangeEnd: Buffer): string {
  const end = keyFromBytes(rangeEnd);
  return `[${keyFromBytes(key)}, ${end === '\0' ? '<open ended>' : `${end})`}`;
}
