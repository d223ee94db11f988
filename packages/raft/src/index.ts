export { ConfChangeError, changedMembership, confChangeOf, confChangeV2Of } from './conf-change.ts';
export { confStateOf, membershipOf } from './conf-state.ts';
export { RAFT_DEFAULTS, type RaftOptions } from './config.ts';
export type { PendingWrite } from './log.ts';
export { PROBE, type Progress, REPLICATE, SNAPSHOT } from './progress.ts';
export {
  CANDIDATE,
  FOLLOWER,
  LEADER,
  type Membership,
  PRE_CANDIDATE,
  type ReadState,
  ROLE_NAMES,
  type Role,
} from './raft.ts';
export { DROPPED, emptyState, FORWARDED, RawNode, REFUSED, type StoredState } from './raw-node.ts';
export type { Ready } from './ready.ts';
export type { RaftTracer, TraceEvent, TraceMessage } from './trace.ts';
