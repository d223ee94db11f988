/** The calls that the API is made of. */
import {
  AuthenticateRequest,
  AuthenticateResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  LogLevelRequest,
  LogLevelResponse,
  MemberListRequest,
  MemberListResponse,
  RangeRequest,
  RangeResponse,
  StatusRequest,
  StatusResponse,
  TxnRequest,
  TxnResponse,
  UsageRequest,
  UsageResponse,
} from '@etsd/proto';
import type { Method } from './local-call.ts';

function method<Q, S>(
  path: string,
  request: Method<Q, S>['request'],
  response: Method<Q, S>['response'],
): Method<Q, S> {
  return { path, request, response };
}

export const RANGE = method('/etcdserverpb.KV/Range', RangeRequest, RangeResponse);
export const DELETE_RANGE = method('/etcdserverpb.KV/DeleteRange', DeleteRangeRequest, DeleteRangeResponse);
export const TXN = method('/etcdserverpb.KV/Txn', TxnRequest, TxnResponse);
export const LEASE_GRANT = method('/etcdserverpb.Lease/LeaseGrant', LeaseGrantRequest, LeaseGrantResponse);
export const LEASE_REVOKE = method('/etcdserverpb.Lease/LeaseRevoke', LeaseRevokeRequest, LeaseRevokeResponse);
export const LEASE_LEASES = method('/etcdserverpb.Lease/LeaseLeases', LeaseLeasesRequest, LeaseLeasesResponse);
export const TIME_TO_LIVE = method(
  '/etcdserverpb.Lease/LeaseTimeToLive',
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
);
export const AUTHENTICATE = method('/etcdserverpb.Auth/Authenticate', AuthenticateRequest, AuthenticateResponse);
export const STATUS = method('/etcdserverpb.Maintenance/Status', StatusRequest, StatusResponse);
export const USAGE = method('/etsdpb.Observe/Usage', UsageRequest, UsageResponse);
export const LOG_LEVEL = method('/etsdpb.Observe/LogLevel', LogLevelRequest, LogLevelResponse);
export const MEMBER_LIST = method('/etcdserverpb.Cluster/MemberList', MemberListRequest, MemberListResponse);

/** Paths of the calls that go on. */
export const WATCH_PATH = '/etcdserverpb.Watch/Watch';
export const KEEP_ALIVE_PATH = '/etcdserverpb.Lease/LeaseKeepAlive';
