/** Which versions may live together: the rules by which a cluster settles on one, as pure functions. */
import { OperatorError, type U64 } from '@etsd/base';
import { type ClusterVersion, type ParsedVersion, parseVersion } from '@etsd/state';

/** What a member answers at `/version`. */
export interface MemberVersions {
  readonly server: string;
  /** `NOT_DECIDED` until there is one. */
  readonly cluster: string;
}

/** What is said where the cluster has no version yet. */
export const NOT_DECIDED = 'not_decided';

/** `3.5.30` and `3.5` become `3.5.0`: only what two releases share decides whether they fit together. */
export function minorOf(version: ParsedVersion): string {
  return `${version.major}.${version.minor}.0`;
}

/** The form of a cluster's version in messages: `3.5`. */
export function shownVersion(version: string): string {
  const parsed = parseVersion(version);
  return parsed === undefined ? version : `${parsed.major}.${parsed.minor}`;
}

/** The oldest version among the members, cut to its minor; null as long as one of them is unknown. */
export function decideVersion(answers: ReadonlyMap<U64, MemberVersions | null>): string | null {
  let oldest: ParsedVersion | null = null;
  for (const answer of answers.values()) {
    const version = answer === null ? undefined : parseVersion(answer.server);
    if (version === undefined) return null;
    if (oldest === null || isBefore(version, oldest)) oldest = version;
  }
  return oldest === null ? null : minorOf(oldest);
}

/**
 * Whether a cluster goes from one version to another: up within a major version, and down by exactly one minor version,
 * which is how a downgrade ends.
 */
export function isVersionChange(from: string, to: string): boolean {
  const current = parseVersion(from);
  const next = parseVersion(to);
  if (current === undefined || next === undefined || current.major !== next.major) return false;
  return next.minor > current.minor || next.minor === current.minor - 1;
}

/** Whether every member already says that the cluster has this version. */
export function haveAllReached(target: string, answers: ReadonlyMap<U64, MemberVersions | null>): boolean {
  const wanted = parseVersion(target);
  if (wanted === undefined) return false;
  for (const answer of answers.values()) {
    const version = answer === null ? undefined : parseVersion(answer.cluster);
    if (version === undefined || minorOf(version) !== minorOf(wanted)) return false;
  }
  return true;
}

type ClusterState = Pick<ClusterVersion, 'version' | 'downgradeEnabled' | 'downgradeTarget'>;

/**
 * Why a member of this version may not start in the cluster, or null: data of a newer version may hold what it does not
 * understand, and once a downgrade is under way only members of the version aimed at may start.
 */
export function versionRefusal(cluster: ClusterState, serverVersion: string): OperatorError | null {
  const own = parseVersion(serverVersion);
  const target = downgradeTarget(cluster);
  if (own === undefined || target === undefined || minorOf(own) === minorOf(target)) {
    return leftBehind(cluster, serverVersion);
  }
  return new OperatorError(
    `invalid downgrade; server version is not allowed to join when downgrade is enabled (this member is ${serverVersion}, the cluster goes down to ${shownVersion(cluster.downgradeTarget)})`,
    'Start the version aimed at, or cancel the downgrade at another member.',
  );
}

/**
 * Why a member of this version may not even go on, or null: the cluster has become newer than it is. Who is newer than a
 * downgrade aims at goes on until its turn comes; else the first member that went down would take all others with it.
 */
export function leftBehind(cluster: ClusterState, serverVersion: string): OperatorError | null {
  const own = parseVersion(serverVersion);
  const target = downgradeTarget(cluster);
  const decided = parseVersion(cluster.version);
  if (own === undefined || decided === undefined) return null;
  if (target !== undefined && minorOf(own) === minorOf(target)) return null;
  if (!isBefore({ ...own, patch: 0 }, { ...decided, patch: 0 })) return null;
  return new OperatorError(
    `invalid downgrade; server version is lower than determined cluster version (this member is ${serverVersion}, the cluster ${shownVersion(cluster.version)})`,
    'Start a newer version; to go back to this one, first enable a downgrade of the cluster.',
  );
}

function downgradeTarget({ downgradeEnabled, downgradeTarget: target }: ClusterState): ParsedVersion | undefined {
  return downgradeEnabled ? parseVersion(target) : undefined;
}

/** Whether one release is newer than another, patches counted. */
export function isNewer(version: string, than: string): boolean {
  const a = parseVersion(version);
  const b = parseVersion(than);
  return a !== undefined && b !== undefined && isBefore(b, a);
}

function isBefore(a: ParsedVersion, b: ParsedVersion): boolean {
  if (a.major !== b.major) return a.major < b.major;
  return a.minor !== b.minor ? a.minor < b.minor : a.patch < b.patch;
}
