/**
 * Every error etcd sends to a client: status code and exact text, which clients compare byte for byte. One shared
 * constant each, so that refusing a request costs no stack trace; identity may be compared within a process.
 */

/** gRPC status codes (https://grpc.io/docs/guides/status-codes). */
export const GrpcCode = {
  OK: 0,
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;

/** The outcome of a request that was refused or failed. `code` is one of `GrpcCode`, `message` the text on the wire. */
export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  readonly code: number;

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error outside the catalogue, which etcd sends as Unknown with its plain text. */
export function unknownError(text: string): EtcdError {
  return new EtcdError(GrpcCode.Unknown, text);
}

const catalogue = new Map<string, EtcdError>();

function define(code: keyof typeof GrpcCode, text: string): EtcdError {
  const error = new EtcdError(GrpcCode[code], text);
  catalogue.set(text, error);
  return error;
}

/** The shared constant with this text, for the side that receives it; `undefined` for texts outside the catalogue. */
export function catalogueError(text: string): EtcdError | undefined {
  return catalogue.get(text);
}

/** All constants, for tests and documentation. */
export function allCatalogueErrors(): EtcdError[] {
  return [...catalogue.values()];
}

export const ErrEmptyKey = define('InvalidArgument', 'etcdserver: key is not provided');
export const ErrKeyNotFound = define('InvalidArgument', 'etcdserver: key not found');
export const ErrValueProvided = define('InvalidArgument', 'etcdserver: value is provided');
export const ErrLeaseProvided = define('InvalidArgument', 'etcdserver: lease is provided');
export const ErrTooManyOps = define('InvalidArgument', 'etcdserver: too many operations in txn request');
export const ErrDuplicateKey = define('InvalidArgument', 'etcdserver: duplicate key given in txn request');
export const ErrInvalidClientAPIVersion = define('InvalidArgument', 'etcdserver: invalid client api version');
export const ErrInvalidSortOption = define('InvalidArgument', 'etcdserver: invalid sort option');
export const ErrCompacted = define('OutOfRange', 'etcdserver: mvcc: required revision has been compacted');
export const ErrFutureRev = define('OutOfRange', 'etcdserver: mvcc: required revision is a future revision');
export const ErrNoSpace = define('ResourceExhausted', 'etcdserver: mvcc: database space exceeded');
export const ErrLeaseNotFound = define('NotFound', 'etcdserver: requested lease not found');
export const ErrLeaseExist = define('FailedPrecondition', 'etcdserver: lease already exists');
export const ErrLeaseTTLTooLarge = define('OutOfRange', 'etcdserver: too large lease TTL');
export const ErrWatchCanceled = define('Canceled', 'etcdserver: watch canceled');
export const ErrMemberExist = define('FailedPrecondition', 'etcdserver: member ID already exist');
export const ErrPeerURLExist = define('FailedPrecondition', 'etcdserver: Peer URLs already exists');
export const ErrMemberNotEnoughStarted = define(
  'FailedPrecondition',
  'etcdserver: re-configuration failed due to not enough started members',
);
export const ErrMemberBadURLs = define('InvalidArgument', 'etcdserver: given member URLs are invalid');
export const ErrMemberNotFound = define('NotFound', 'etcdserver: member not found');
export const ErrMemberNotLearner = define('FailedPrecondition', 'etcdserver: can only promote a learner member');
export const ErrLearnerNotReady = define(
  'FailedPrecondition',
  'etcdserver: can only promote a learner member which is in sync with leader',
);
export const ErrTooManyLearners = define('FailedPrecondition', 'etcdserver: too many learner members in cluster');
export const ErrClusterIDMismatch = define('FailedPrecondition', 'etcdserver: cluster ID mismatch');
export const ErrRequestTooLarge = define('InvalidArgument', 'etcdserver: request is too large');
export const ErrRequestTooManyRequests = define('ResourceExhausted', 'etcdserver: too many requests');
export const ErrRootUserNotExist = define('FailedPrecondition', 'etcdserver: root user does not exist');
export const ErrRootRoleNotExist = define('FailedPrecondition', 'etcdserver: root user does not have root role');
export const ErrUserAlreadyExist = define('FailedPrecondition', 'etcdserver: user name already exists');
export const ErrUserEmpty = define('InvalidArgument', 'etcdserver: user name is empty');
export const ErrUserNotFound = define('FailedPrecondition', 'etcdserver: user name not found');
export const ErrRoleAlreadyExist = define('FailedPrecondition', 'etcdserver: role name already exists');
export const ErrRoleNotFound = define('FailedPrecondition', 'etcdserver: role name not found');
export const ErrRoleEmpty = define('InvalidArgument', 'etcdserver: role name is empty');
export const ErrAuthFailed = define(
  'InvalidArgument',
  'etcdserver: authentication failed, invalid user ID or password',
);
export const ErrPermissionNotGiven = define('InvalidArgument', 'etcdserver: permission not given');
export const ErrPermissionDenied = define('PermissionDenied', 'etcdserver: permission denied');
export const ErrRoleNotGranted = define('FailedPrecondition', 'etcdserver: role is not granted to the user');
export const ErrPermissionNotGranted = define(
  'FailedPrecondition',
  'etcdserver: permission is not granted to the role',
);
export const ErrAuthNotEnabled = define('FailedPrecondition', 'etcdserver: authentication is not enabled');
export const ErrInvalidAuthToken = define('Unauthenticated', 'etcdserver: invalid auth token');
export const ErrInvalidAuthMgmt = define('InvalidArgument', 'etcdserver: invalid auth management');
export const ErrAuthOldRevision = define('InvalidArgument', 'etcdserver: revision of auth store is old');
export const ErrNoLeader = define('Unavailable', 'etcdserver: no leader');
export const ErrNotLeader = define('FailedPrecondition', 'etcdserver: not leader');
export const ErrLeaderChanged = define('Unavailable', 'etcdserver: leader changed');
export const ErrNotCapable = define('FailedPrecondition', 'etcdserver: not capable');
export const ErrStopped = define('Unavailable', 'etcdserver: server stopped');
export const ErrTimeout = define('Unavailable', 'etcdserver: request timed out');
export const ErrTimeoutDueToLeaderFail = define(
  'Unavailable',
  'etcdserver: request timed out, possibly due to previous leader failure',
);
export const ErrTimeoutDueToConnectionLost = define(
  'Unavailable',
  'etcdserver: request timed out, possibly due to connection lost',
);
export const ErrTimeoutWaitAppliedIndex = define(
  'Unavailable',
  'etcdserver: request timed out, waiting for the applied index took too long',
);
export const ErrUnhealthy = define('Unavailable', 'etcdserver: unhealthy cluster');
export const ErrCorrupt = define('DataLoss', 'etcdserver: corrupt cluster');
export const ErrNotSupportedForLearner = define('Unavailable', 'etcdserver: rpc not supported for learner');
export const ErrBadLeaderTransferee = define('FailedPrecondition', 'etcdserver: bad leader transferee');
export const ErrWrongDowngradeVersionFormat = define(
  'InvalidArgument',
  'etcdserver: wrong downgrade target version format',
);
export const ErrInvalidDowngradeTargetVersion = define(
  'InvalidArgument',
  'etcdserver: invalid downgrade target version',
);
export const ErrClusterVersionUnavailable = define(
  'Unavailable',
  'etcdserver: cluster version not found during downgrade',
);
export const ErrDowngradeInProcess = define(
  'FailedPrecondition',
  'etcdserver: cluster has a downgrade job in progress',
);
export const ErrNoInflightDowngrade = define('FailedPrecondition', 'etcdserver: no inflight downgrade job');
export const ErrCanceled = define('Canceled', 'etcdserver: request canceled');
export const ErrDeadlineExceeded = define('DeadlineExceeded', 'etcdserver: context deadline exceeded');

// Sent as Unknown, since etcd maps them to no code.
export const ErrUnknownMethod = define('Unknown', 'etcdserver: unknown method');
export const ErrTimeoutLeaderTransfer = define(
  'Unknown',
  'etcdserver: request timed out, leader transfer took too long',
);
export const ErrNotPrimaryLessor = define('Unknown', 'not a primary lessor');
export const ErrNoPasswordUser = define(
  'Unknown',
  'auth: authentication failed, password was given for no password user',
);
export const ErrSessionExpired = define('Unknown', 'mutex: session is expired');
export const ErrElectionNoLeader = define('Unknown', 'election: no leader');
export const ErrElectionNotLeader = define('Unknown', 'election: not leader');
export const ErrMissingLeaderKey = define('Unknown', '"leader" field must be provided');

// Statuses of the transport that etcd's servers send too.
export const ErrContextCanceled = define('Canceled', 'context canceled');
export const ErrContextDeadlineExceeded = define('DeadlineExceeded', 'context deadline exceeded');
export const ErrTransportClosing = define('Unavailable', 'transport is closing');
export const ErrRangeStreamSort = define('Unimplemented', 'RangeStream does not support custom sort orders');
export const ErrRangeStreamFilter = define('Unimplemented', 'RangeStream does not support revision filters');
