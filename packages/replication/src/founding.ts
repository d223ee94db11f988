/** How a cluster and its members begin, apart from the rest of the package: what makes data directories needs no more. */
export {
  type ExistingOptions,
  type Founding,
  forceSingleMember,
  foundCluster,
  hasLog,
  type JoinOptions,
  joinCluster,
  type LogPlace,
  type NewClusterOptions,
  type OpenedLog,
  openExisting,
  type StartState,
} from './bootstrap.ts';
export type { LogStore } from './log-store.ts';
export {
  clusterIdOf,
  type FoundingMember,
  foundingMemberId,
  type IdentifiedMember,
  identify,
  joiningMemberId,
  memberContext,
} from './membership.ts';
