/** The methods the client calls, each with what may be repeated. */
import * as proto from '@etsd/proto';
import type { Method } from './link.ts';

function method<Request, Response>(
  path: string,
  request: proto.MessageClass<Request>,
  response: proto.MessageClass<Response>,
  repeatable = false,
): Method<Request, Response> {
  return { path, request, response, repeatable };
}

const KV = '/etcdserverpb.KV/';
export const Range = method(`${KV}Range`, proto.RangeRequest, proto.RangeResponse, true);
export const Put = method(`${KV}Put`, proto.PutRequest, proto.PutResponse);
export const DeleteRange = method(`${KV}DeleteRange`, proto.DeleteRangeRequest, proto.DeleteRangeResponse);
export const Txn = method(`${KV}Txn`, proto.TxnRequest, proto.TxnResponse);
export const ReadTxn = method(`${KV}Txn`, proto.TxnRequest, proto.TxnResponse, true);
export const Compact = method(`${KV}Compact`, proto.CompactionRequest, proto.CompactionResponse);

export const Watch = method('/etcdserverpb.Watch/Watch', proto.WatchRequest, proto.WatchResponse);

const LEASE = '/etcdserverpb.Lease/';
export const LeaseGrant = method(`${LEASE}LeaseGrant`, proto.LeaseGrantRequest, proto.LeaseGrantResponse);
export const LeaseRevoke = method(`${LEASE}LeaseRevoke`, proto.LeaseRevokeRequest, proto.LeaseRevokeResponse);
/** By the lease's owner, who takes "no such lease" for done as well. */
export const OwnLeaseRevoke = method(`${LEASE}LeaseRevoke`, proto.LeaseRevokeRequest, proto.LeaseRevokeResponse, true);
export const LeaseKeepAlive = method(
  `${LEASE}LeaseKeepAlive`,
  proto.LeaseKeepAliveRequest,
  proto.LeaseKeepAliveResponse,
);
export const LeaseTimeToLive = method(
  `${LEASE}LeaseTimeToLive`,
  proto.LeaseTimeToLiveRequest,
  proto.LeaseTimeToLiveResponse,
  true,
);
export const LeaseLeases = method(`${LEASE}LeaseLeases`, proto.LeaseLeasesRequest, proto.LeaseLeasesResponse, true);

const CLUSTER = '/etcdserverpb.Cluster/';
export const MemberAdd = method(`${CLUSTER}MemberAdd`, proto.MemberAddRequest, proto.MemberAddResponse);
export const MemberRemove = method(`${CLUSTER}MemberRemove`, proto.MemberRemoveRequest, proto.MemberRemoveResponse);
export const MemberUpdate = method(`${CLUSTER}MemberUpdate`, proto.MemberUpdateRequest, proto.MemberUpdateResponse);
export const MemberList = method(`${CLUSTER}MemberList`, proto.MemberListRequest, proto.MemberListResponse, true);
export const MemberPromote = method(`${CLUSTER}MemberPromote`, proto.MemberPromoteRequest, proto.MemberPromoteResponse);

const MAINTENANCE = '/etcdserverpb.Maintenance/';
export const Alarm = method(`${MAINTENANCE}Alarm`, proto.AlarmRequest, proto.AlarmResponse, true);
export const Status = method(`${MAINTENANCE}Status`, proto.StatusRequest, proto.StatusResponse, true);
export const Defragment = method(`${MAINTENANCE}Defragment`, proto.DefragmentRequest, proto.DefragmentResponse);
export const Hash = method(`${MAINTENANCE}Hash`, proto.HashRequest, proto.HashResponse, true);
export const HashKV = method(`${MAINTENANCE}HashKV`, proto.HashKVRequest, proto.HashKVResponse, true);
export const Snapshot = method(`${MAINTENANCE}Snapshot`, proto.SnapshotRequest, proto.SnapshotResponse, true);
export const MoveLeader = method(`${MAINTENANCE}MoveLeader`, proto.MoveLeaderRequest, proto.MoveLeaderResponse);
export const Downgrade = method(`${MAINTENANCE}Downgrade`, proto.DowngradeRequest, proto.DowngradeResponse);

const OBSERVE = '/etsdpb.Observe/';
export const Usage = method(`${OBSERVE}Usage`, proto.UsageRequest, proto.UsageResponse, true);
export const LogLevel = method(`${OBSERVE}LogLevel`, proto.LogLevelRequest, proto.LogLevelResponse, true);

const AUTH = '/etcdserverpb.Auth/';
export const Authenticate = method(`${AUTH}Authenticate`, proto.AuthenticateRequest, proto.AuthenticateResponse, true);
export const AuthEnable = method(`${AUTH}AuthEnable`, proto.AuthEnableRequest, proto.AuthEnableResponse);
export const AuthDisable = method(`${AUTH}AuthDisable`, proto.AuthDisableRequest, proto.AuthDisableResponse);
export const AuthStatus = method(`${AUTH}AuthStatus`, proto.AuthStatusRequest, proto.AuthStatusResponse, true);
export const UserAdd = method(`${AUTH}UserAdd`, proto.AuthUserAddRequest, proto.AuthUserAddResponse);
export const UserGet = method(`${AUTH}UserGet`, proto.AuthUserGetRequest, proto.AuthUserGetResponse, true);
export const UserList = method(`${AUTH}UserList`, proto.AuthUserListRequest, proto.AuthUserListResponse, true);
export const UserDelete = method(`${AUTH}UserDelete`, proto.AuthUserDeleteRequest, proto.AuthUserDeleteResponse);
export const UserChangePassword = method(
  `${AUTH}UserChangePassword`,
  proto.AuthUserChangePasswordRequest,
  proto.AuthUserChangePasswordResponse,
);
export const UserGrantRole = method(
  `${AUTH}UserGrantRole`,
  proto.AuthUserGrantRoleRequest,
  proto.AuthUserGrantRoleResponse,
);
export const UserRevokeRole = method(
  `${AUTH}UserRevokeRole`,
  proto.AuthUserRevokeRoleRequest,
  proto.AuthUserRevokeRoleResponse,
);
export const RoleAdd = method(`${AUTH}RoleAdd`, proto.AuthRoleAddRequest, proto.AuthRoleAddResponse);
export const RoleGet = method(`${AUTH}RoleGet`, proto.AuthRoleGetRequest, proto.AuthRoleGetResponse, true);
export const RoleList = method(`${AUTH}RoleList`, proto.AuthRoleListRequest, proto.AuthRoleListResponse, true);
export const RoleDelete = method(`${AUTH}RoleDelete`, proto.AuthRoleDeleteRequest, proto.AuthRoleDeleteResponse);
export const RoleGrantPermission = method(
  `${AUTH}RoleGrantPermission`,
  proto.AuthRoleGrantPermissionRequest,
  proto.AuthRoleGrantPermissionResponse,
);
export const RoleRevokePermission = method(
  `${AUTH}RoleRevokePermission`,
  proto.AuthRoleRevokePermissionRequest,
  proto.AuthRoleRevokePermissionResponse,
);
