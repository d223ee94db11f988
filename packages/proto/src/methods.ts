/**
 * All RPCs: path, codecs, streaming kind, and where the JSON gateway offers them. Server, client and gateway are driven
 * by this table; a test holds it against the services in the schema.
 */
import {
  AlarmRequest,
  AlarmResponse,
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
  CampaignRequest,
  CampaignResponse,
  CompactionRequest,
  CompactionResponse,
  DefragmentRequest,
  DefragmentResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  DowngradeRequest,
  DowngradeResponse,
  HashKVRequest,
  HashKVResponse,
  HashRequest,
  HashResponse,
  HealthCheckRequest,
  HealthCheckResponse,
  LeaderRequest,
  LeaderResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  LockRequest,
  LockResponse,
  LogLevelRequest,
  LogLevelResponse,
  MemberAddRequest,
  MemberAddResponse,
  MemberListRequest,
  MemberListResponse,
  MemberPromoteRequest,
  MemberPromoteResponse,
  MemberRemoveRequest,
  MemberRemoveResponse,
  MemberUpdateRequest,
  MemberUpdateResponse,
  MoveLeaderRequest,
  MoveLeaderResponse,
  ProclaimRequest,
  ProclaimResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RangeStreamResponse,
  ResignRequest,
  ResignResponse,
  SnapshotRequest,
  SnapshotResponse,
  StatusRequest,
  StatusResponse,
  TxnRequest,
  TxnResponse,
  UnlockRequest,
  UnlockResponse,
  UsageRequest,
  UsageResponse,
  WatchRequest,
  WatchResponse,
} from './gen/index.ts';

export type MethodKind = 'unary' | 'server-stream' | 'bidi';

/** The static side of a generated class, as far as code needs it that treats all messages alike. */
export interface MessageClass<T> {
  readonly typeName: string;
  new (): T;
  create(partial?: Partial<T>): T;
  decode(bytes: Buffer, start?: number, end?: number): T;
  encode(message: T): Buffer;
  size(message: T): number;
  write(message: T, target: Buffer, offset: number): number;
}

/** One RPC. */
export interface MethodInfo {
  /** As in the HTTP/2 request: `/etcdserverpb.KV/Put`. */
  readonly path: string;
  /** With package: `etcdserverpb.KV`. */
  readonly service: string;
  readonly name: string;
  readonly kind: MethodKind;
  // The table holds all classes, so the message type is open here; callers that know theirs use the class itself.
  readonly request: MessageClass<object>;
  readonly response: MessageClass<object>;
  /** Paths of the JSON gateway, the usual one first; empty where there is none. */
  readonly gatewayPaths: readonly string[];
}

function method<Q extends object, S extends object>(
  service: string,
  name: string,
  kind: MethodKind,
  request: MessageClass<Q>,
  response: MessageClass<S>,
  gatewayPaths: readonly string[],
): MethodInfo {
  return {
    path: `/${service}/${name}`,
    service,
    name,
    kind,
    request: request as unknown as MessageClass<object>,
    response: response as unknown as MessageClass<object>,
    gatewayPaths,
  };
}

export const METHODS: readonly MethodInfo[] = [
  method('etcdserverpb.KV', 'Range', 'unary', RangeRequest, RangeResponse, ['/v3/kv/range']),
  method('etcdserverpb.KV', 'RangeStream', 'server-stream', RangeRequest, RangeStreamResponse, []),
  method('etcdserverpb.KV', 'Put', 'unary', PutRequest, PutResponse, ['/v3/kv/put']),
  method('etcdserverpb.KV', 'DeleteRange', 'unary', DeleteRangeRequest, DeleteRangeResponse, ['/v3/kv/deleterange']),
  method('etcdserverpb.KV', 'Txn', 'unary', TxnRequest, TxnResponse, ['/v3/kv/txn']),
  method('etcdserverpb.KV', 'Compact', 'unary', CompactionRequest, CompactionResponse, ['/v3/kv/compaction']),
  method('etcdserverpb.Watch', 'Watch', 'bidi', WatchRequest, WatchResponse, ['/v3/watch']),
  method('etcdserverpb.Lease', 'LeaseGrant', 'unary', LeaseGrantRequest, LeaseGrantResponse, ['/v3/lease/grant']),
  method('etcdserverpb.Lease', 'LeaseRevoke', 'unary', LeaseRevokeRequest, LeaseRevokeResponse, [
    '/v3/lease/revoke',
    '/v3/kv/lease/revoke',
  ]),
  method('etcdserverpb.Lease', 'LeaseKeepAlive', 'bidi', LeaseKeepAliveRequest, LeaseKeepAliveResponse, [
    '/v3/lease/keepalive',
  ]),
  method('etcdserverpb.Lease', 'LeaseTimeToLive', 'unary', LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, [
    '/v3/lease/timetolive',
    '/v3/kv/lease/timetolive',
  ]),
  method('etcdserverpb.Lease', 'LeaseLeases', 'unary', LeaseLeasesRequest, LeaseLeasesResponse, [
    '/v3/lease/leases',
    '/v3/kv/lease/leases',
  ]),
  method('etcdserverpb.Cluster', 'MemberAdd', 'unary', MemberAddRequest, MemberAddResponse, ['/v3/cluster/member/add']),
  method('etcdserverpb.Cluster', 'MemberRemove', 'unary', MemberRemoveRequest, MemberRemoveResponse, [
    '/v3/cluster/member/remove',
  ]),
  method('etcdserverpb.Cluster', 'MemberUpdate', 'unary', MemberUpdateRequest, MemberUpdateResponse, [
    '/v3/cluster/member/update',
  ]),
  method('etcdserverpb.Cluster', 'MemberList', 'unary', MemberListRequest, MemberListResponse, [
    '/v3/cluster/member/list',
  ]),
  method('etcdserverpb.Cluster', 'MemberPromote', 'unary', MemberPromoteRequest, MemberPromoteResponse, [
    '/v3/cluster/member/promote',
  ]),
  method('etcdserverpb.Maintenance', 'Alarm', 'unary', AlarmRequest, AlarmResponse, ['/v3/maintenance/alarm']),
  method('etcdserverpb.Maintenance', 'Status', 'unary', StatusRequest, StatusResponse, ['/v3/maintenance/status']),
  method('etcdserverpb.Maintenance', 'Defragment', 'unary', DefragmentRequest, DefragmentResponse, [
    '/v3/maintenance/defragment',
  ]),
  method('etcdserverpb.Maintenance', 'Hash', 'unary', HashRequest, HashResponse, ['/v3/maintenance/hash']),
  method('etcdserverpb.Maintenance', 'HashKV', 'unary', HashKVRequest, HashKVResponse, ['/v3/maintenance/hashkv']),
  method('etcdserverpb.Maintenance', 'Snapshot', 'server-stream', SnapshotRequest, SnapshotResponse, [
    '/v3/maintenance/snapshot',
  ]),
  method('etcdserverpb.Maintenance', 'MoveLeader', 'unary', MoveLeaderRequest, MoveLeaderResponse, [
    '/v3/maintenance/transfer-leadership',
  ]),
  method('etcdserverpb.Maintenance', 'Downgrade', 'unary', DowngradeRequest, DowngradeResponse, [
    '/v3/maintenance/downgrade',
  ]),
  method('etcdserverpb.Auth', 'AuthEnable', 'unary', AuthEnableRequest, AuthEnableResponse, ['/v3/auth/enable']),
  method('etcdserverpb.Auth', 'AuthDisable', 'unary', AuthDisableRequest, AuthDisableResponse, ['/v3/auth/disable']),
  method('etcdserverpb.Auth', 'AuthStatus', 'unary', AuthStatusRequest, AuthStatusResponse, ['/v3/auth/status']),
  method('etcdserverpb.Auth', 'Authenticate', 'unary', AuthenticateRequest, AuthenticateResponse, [
    '/v3/auth/authenticate',
  ]),
  method('etcdserverpb.Auth', 'UserAdd', 'unary', AuthUserAddRequest, AuthUserAddResponse, ['/v3/auth/user/add']),
  method('etcdserverpb.Auth', 'UserGet', 'unary', AuthUserGetRequest, AuthUserGetResponse, ['/v3/auth/user/get']),
  method('etcdserverpb.Auth', 'UserList', 'unary', AuthUserListRequest, AuthUserListResponse, ['/v3/auth/user/list']),
  method('etcdserverpb.Auth', 'UserDelete', 'unary', AuthUserDeleteRequest, AuthUserDeleteResponse, [
    '/v3/auth/user/delete',
  ]),
  method(
    'etcdserverpb.Auth',
    'UserChangePassword',
    'unary',
    AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse,
    ['/v3/auth/user/changepw'],
  ),
  method('etcdserverpb.Auth', 'UserGrantRole', 'unary', AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, [
    '/v3/auth/user/grant',
  ]),
  method('etcdserverpb.Auth', 'UserRevokeRole', 'unary', AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, [
    '/v3/auth/user/revoke',
  ]),
  method('etcdserverpb.Auth', 'RoleAdd', 'unary', AuthRoleAddRequest, AuthRoleAddResponse, ['/v3/auth/role/add']),
  method('etcdserverpb.Auth', 'RoleGet', 'unary', AuthRoleGetRequest, AuthRoleGetResponse, ['/v3/auth/role/get']),
  method('etcdserverpb.Auth', 'RoleList', 'unary', AuthRoleListRequest, AuthRoleListResponse, ['/v3/auth/role/list']),
  method('etcdserverpb.Auth', 'RoleDelete', 'unary', AuthRoleDeleteRequest, AuthRoleDeleteResponse, [
    '/v3/auth/role/delete',
  ]),
  method(
    'etcdserverpb.Auth',
    'RoleGrantPermission',
    'unary',
    AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse,
    ['/v3/auth/role/grant'],
  ),
  method(
    'etcdserverpb.Auth',
    'RoleRevokePermission',
    'unary',
    AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse,
    ['/v3/auth/role/revoke'],
  ),
  method('v3lockpb.Lock', 'Lock', 'unary', LockRequest, LockResponse, ['/v3/lock/lock']),
  method('v3lockpb.Lock', 'Unlock', 'unary', UnlockRequest, UnlockResponse, ['/v3/lock/unlock']),
  method('v3electionpb.Election', 'Campaign', 'unary', CampaignRequest, CampaignResponse, ['/v3/election/campaign']),
  method('v3electionpb.Election', 'Proclaim', 'unary', ProclaimRequest, ProclaimResponse, ['/v3/election/proclaim']),
  method('v3electionpb.Election', 'Leader', 'unary', LeaderRequest, LeaderResponse, ['/v3/election/leader']),
  method('v3electionpb.Election', 'Observe', 'server-stream', LeaderRequest, LeaderResponse, ['/v3/election/observe']),
  method('v3electionpb.Election', 'Resign', 'unary', ResignRequest, ResignResponse, ['/v3/election/resign']),
  method('etsdpb.Observe', 'Usage', 'unary', UsageRequest, UsageResponse, []),
  method('etsdpb.Observe', 'LogLevel', 'unary', LogLevelRequest, LogLevelResponse, []),
  method('grpc.health.v1.Health', 'Check', 'unary', HealthCheckRequest, HealthCheckResponse, []),
  method('grpc.health.v1.Health', 'Watch', 'server-stream', HealthCheckRequest, HealthCheckResponse, []),
];

const byPath = new Map<string, MethodInfo>();
for (const info of METHODS) byPath.set(info.path, info);

/** The RPC with this path. */
export function findMethod(path: string): MethodInfo | undefined {
  return byPath.get(path);
}
