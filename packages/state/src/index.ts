export { Alarms, RAISED_BY_MEMBER } from './alarms.ts';
export { State, type StateParts, WINDOW_ENTRIES } from './apply.ts';
export { type AuthListener, AuthStore, type Caller, FIRST_AUTH_REVISION } from './auth.ts';
export { AuthGuard } from './auth-guard.ts';
export {
  addMemberChange,
  checkMembershipChange,
  MembershipChange,
  promoteMemberChange,
  readMembershipChange,
  removeMemberChange,
  updateMemberChange,
} from './conf-change.ts';
export { confStateFromJson, confStateToJson } from './conf-state.ts';
export { Digest, digest } from './digest.ts';
export { goString, goStrings } from './go-json.ts';
export {
  LEASE_TTL_MAX_SECONDS,
  type LeaseListener,
  LeaseResult,
  Lessor,
  type LessorBackend,
  type LessorOptions,
  LessorReload,
  type LessorStore,
  leaseTtlMinSeconds,
} from './lease.ts';
export { Lease, LeaseTable } from './lease-table.ts';
export {
  LEARNERS_MAX,
  MemberRecord,
  Members,
  type MembersListener,
  memberFromJson,
  membersFromJson,
  membersToJson,
  memberToJson,
} from './members.ts';
export type { BackendPort, LeasePort, LessorPort, RangeAnswer, RangeQuery, StorePort } from './ports.ts';
export {
  AlarmResult,
  CompactResult,
  DeleteResult,
  MembersResult,
  type OpKind,
  OpResult,
  PutResult,
  TxnResult,
  type Waiter,
} from './results.ts';
export { applyV2Request, KEYS_ROOT } from './v2/apply.ts';
export {
  eventJson,
  shownJson,
  type V2Action,
  V2Code,
  V2Event,
  V2Failure,
  V2Shown,
} from './v2/event.ts';
export { HISTORY_EVENTS, V2History } from './v2/history.ts';
export type { V2Node } from './v2/node.ts';
export type { V2Reading } from './v2/reading.ts';
export { type KeptKeys, keptKeys, putKeysFromSnapshot } from './v2/snapshot-json.ts';
export { type V2Kind, V2Stats } from './v2/stats.ts';
export { type V2Listener, type V2Outcome, V2Store } from './v2/store.ts';
export { momentOf, momentOfMs, momentText } from './v2/time.ts';
export { ClusterVersion, type ParsedVersion, parseVersion } from './version.ts';
