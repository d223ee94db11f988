import * as proto from '@etsd/proto';
import type { Caller } from './caller.ts';
import { type Bytes, type KeyRange, toRange } from './keys.ts';
import * as methods from './methods.ts';
import type { CallOptions } from './options.ts';

/** Users, roles, and what they may do. */
export class Auth {
  private readonly caller: Caller;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  enable(options?: CallOptions): Promise<proto.AuthEnableResponse> {
    return this.caller.unary(methods.AuthEnable, proto.AuthEnableRequest.create(), options);
  }

  disable(options?: CallOptions): Promise<proto.AuthDisableResponse> {
    return this.caller.unary(methods.AuthDisable, proto.AuthDisableRequest.create(), options);
  }

  status(options?: CallOptions): Promise<proto.AuthStatusResponse> {
    return this.caller.unary(methods.AuthStatus, proto.AuthStatusRequest.create(), options);
  }

  /** A new user; with a password of null one who comes with a certificate only. */
  addUser(name: string, password: string | null, options?: CallOptions): Promise<proto.AuthUserAddResponse> {
    const request = proto.AuthUserAddRequest.create({
      name,
      password: password ?? '',
      options: proto.AuthUserAddOptions.create({ noPassword: password === null }),
    });
    return this.caller.unary(methods.UserAdd, request, options);
  }

  deleteUser(name: string, options?: CallOptions): Promise<proto.AuthUserDeleteResponse> {
    return this.caller.unary(methods.UserDelete, proto.AuthUserDeleteRequest.create({ name }), options);
  }

  user(name: string, options?: CallOptions): Promise<proto.AuthUserGetResponse> {
    return this.caller.unary(methods.UserGet, proto.AuthUserGetRequest.create({ name }), options);
  }

  users(options?: CallOptions): Promise<proto.AuthUserListResponse> {
    return this.caller.unary(methods.UserList, proto.AuthUserListRequest.create(), options);
  }

  changePassword(name: string, password: string, options?: CallOptions): Promise<proto.AuthUserChangePasswordResponse> {
    const request = proto.AuthUserChangePasswordRequest.create({ name, password });
    return this.caller.unary(methods.UserChangePassword, request, options);
  }

  grantRole(user: string, role: string, options?: CallOptions): Promise<proto.AuthUserGrantRoleResponse> {
    return this.caller.unary(methods.UserGrantRole, proto.AuthUserGrantRoleRequest.create({ user, role }), options);
  }

  revokeRole(name: string, role: string, options?: CallOptions): Promise<proto.AuthUserRevokeRoleResponse> {
    return this.caller.unary(methods.UserRevokeRole, proto.AuthUserRevokeRoleRequest.create({ name, role }), options);
  }

  addRole(name: string, options?: CallOptions): Promise<proto.AuthRoleAddResponse> {
    return this.caller.unary(methods.RoleAdd, proto.AuthRoleAddRequest.create({ name }), options);
  }

  deleteRole(role: string, options?: CallOptions): Promise<proto.AuthRoleDeleteResponse> {
    return this.caller.unary(methods.RoleDelete, proto.AuthRoleDeleteRequest.create({ role }), options);
  }

  role(role: string, options?: CallOptions): Promise<proto.AuthRoleGetResponse> {
    return this.caller.unary(methods.RoleGet, proto.AuthRoleGetRequest.create({ role }), options);
  }

  roles(options?: CallOptions): Promise<proto.AuthRoleListResponse> {
    return this.caller.unary(methods.RoleList, proto.AuthRoleListRequest.create(), options);
  }

  grantPermission(
    name: string,
    permission: keyof typeof proto.PermissionType,
    keys: Bytes | KeyRange,
    options?: CallOptions,
  ): Promise<proto.AuthRoleGrantPermissionResponse> {
    const perm = proto.AuthPermission.create({ ...toRange(keys), permType: proto.PermissionType[permission] });
    const request = proto.AuthRoleGrantPermissionRequest.create({ name, perm });
    return this.caller.unary(methods.RoleGrantPermission, request, options);
  }

  revokePermission(
    role: string,
    keys: Bytes | KeyRange,
    options?: CallOptions,
  ): Promise<proto.AuthRoleRevokePermissionResponse> {
    const request = proto.AuthRoleRevokePermissionRequest.create({ role, ...toRange(keys) });
    return this.caller.unary(methods.RoleRevokePermission, request, options);
  }
}
