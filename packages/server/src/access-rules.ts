/**
 * What each method of each service asks of its caller while authentication is on. There is no other place where a right
 * is given: a method that is not here can not be registered, and a test holds the table against all methods there are
 * and tries each of them without rights.
 *
 * | right        | who may                                    | decided                                                  |
 * | ------------ | ------------------------------------------ | -------------------------------------------------------- |
 * | `open`       | everybody                                  |                                                          |
 * | `user`       | who has shown who it is                    | before the handler                                       |
 * | `root`       | users with the role root                   | before the handler                                       |
 * | `root-raw`   | the same, refused in words of their own    | before the handler                                       |
 * | `keys`       | rights on every key range named, reads in  | by the handler once what it reads is up to date;         |
 * |              | comparisons and former values included     | for what goes through the log, when it is applied        |
 * | `lease-keys` | a user with rights on all keys attached    | the same                                                 |
 * | `entry`      | a user, as the request says                | the user before the handler, the rest when its entry is  |
 * |              |                                            | applied                                                  |
 * | `as-caller`  | what its single operations ask             | by each of them, which are done in the caller's name     |
 */
export type Right = 'open' | 'user' | 'root' | 'root-raw' | 'keys' | 'lease-keys' | 'entry' | 'as-caller';

export const ACCESS_RULES: Readonly<Record<string, Right>> = {
  '/etcdserverpb.KV/Range': 'keys',
  '/etcdserverpb.KV/RangeStream': 'keys',
  '/etcdserverpb.KV/Put': 'keys',
  '/etcdserverpb.KV/DeleteRange': 'keys',
  '/etcdserverpb.KV/Txn': 'keys',
  '/etcdserverpb.KV/Compact': 'root',
  '/etcdserverpb.Watch/Watch': 'keys',
  '/etcdserverpb.Lease/LeaseGrant': 'user',
  '/etcdserverpb.Lease/LeaseRevoke': 'lease-keys',
  '/etcdserverpb.Lease/LeaseKeepAlive': 'lease-keys',
  '/etcdserverpb.Lease/LeaseTimeToLive': 'lease-keys',
  '/etcdserverpb.Lease/LeaseLeases': 'lease-keys',
  '/etcdserverpb.Cluster/MemberAdd': 'root',
  '/etcdserverpb.Cluster/MemberRemove': 'root',
  '/etcdserverpb.Cluster/MemberUpdate': 'root',
  '/etcdserverpb.Cluster/MemberList': 'user',
  '/etcdserverpb.Cluster/MemberPromote': 'root',
  // To read the alarms a user will do, the rest is root's: the handler sees which it is.
  '/etcdserverpb.Maintenance/Alarm': 'user',
  '/etcdserverpb.Maintenance/Status': 'root',
  '/etcdserverpb.Maintenance/Defragment': 'root-raw',
  '/etcdserverpb.Maintenance/Hash': 'root-raw',
  '/etcdserverpb.Maintenance/HashKV': 'root-raw',
  '/etcdserverpb.Maintenance/Snapshot': 'root-raw',
  '/etcdserverpb.Maintenance/MoveLeader': 'root',
  '/etcdserverpb.Maintenance/Downgrade': 'root',
  '/etcdserverpb.Auth/Authenticate': 'open',
  '/etcdserverpb.Auth/AuthEnable': 'entry',
  '/etcdserverpb.Auth/AuthDisable': 'entry',
  '/etcdserverpb.Auth/AuthStatus': 'entry',
  '/etcdserverpb.Auth/UserAdd': 'entry',
  '/etcdserverpb.Auth/UserGet': 'entry',
  '/etcdserverpb.Auth/UserList': 'entry',
  '/etcdserverpb.Auth/UserDelete': 'entry',
  '/etcdserverpb.Auth/UserChangePassword': 'entry',
  '/etcdserverpb.Auth/UserGrantRole': 'entry',
  '/etcdserverpb.Auth/UserRevokeRole': 'entry',
  '/etcdserverpb.Auth/RoleAdd': 'entry',
  '/etcdserverpb.Auth/RoleGet': 'entry',
  '/etcdserverpb.Auth/RoleList': 'entry',
  '/etcdserverpb.Auth/RoleDelete': 'entry',
  '/etcdserverpb.Auth/RoleGrantPermission': 'entry',
  '/etcdserverpb.Auth/RoleRevokePermission': 'entry',
  '/v3lockpb.Lock/Lock': 'as-caller',
  '/v3lockpb.Lock/Unlock': 'as-caller',
  '/v3electionpb.Election/Campaign': 'as-caller',
  '/v3electionpb.Election/Proclaim': 'as-caller',
  '/v3electionpb.Election/Leader': 'as-caller',
  '/v3electionpb.Election/Observe': 'as-caller',
  '/v3electionpb.Election/Resign': 'as-caller',
  '/etsdpb.Observe/Usage': 'root',
  '/etsdpb.Observe/LogLevel': 'root',
  '/grpc.health.v1.Health/Check': 'open',
  '/grpc.health.v1.Health/Watch': 'open',
};
