/** What members tell of themselves in the headers of every request among them, and what is made of it. */
import { type U64, u64FromHex, u64ToHex } from '@etsd/base';
import type { AnswerHeaders } from './http-client.ts';

/** What this member tells of itself. */
export interface Identity {
  readonly memberId: U64;
  readonly clusterId: U64;
  readonly serverVersion: string;
  readonly minClusterVersion: string;
  readonly peerUrls: readonly string[];
}

export const INCOMPATIBLE_VERSION = 'incompatible version';
export const CLUSTER_MISMATCH = 'cluster ID mismatch';
export const REMOVED_SENDER = 'cannot process message from removed member';
export const WRONG_RECEIVER = 'cannot process message to mismatch member';

/** The headers that every request to a peer carries. */
export function identityHeaders(identity: Identity): Record<string, string> {
  return {
    'X-Server-From': u64ToHex(identity.memberId),
    'X-Server-Version': identity.serverVersion,
    'X-Min-Cluster-Version': identity.minClusterVersion,
    'X-Etcd-Cluster-ID': u64ToHex(identity.clusterId),
    'X-PeerURLs': identity.peerUrls.join(','),
  };
}

export function headerText(headers: AnswerHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.[0] ?? '');
}

/** A version as a number that orders by major and minor; one that is absent or no version counts as 2.0, as in etcd. */
export function versionOrder(text: string): number {
  const match = /^v?(\d{1,5})\.(\d{1,5})(?:\.|$)/.exec(text);
  return match === null ? 2_00000 : Number(match[1]) * 1_00000 + Number(match[2]);
}

/** Why a request with these headers is refused; null if it is not. */
export function incompatibility(identity: Identity, headers: AnswerHeaders): string | null {
  const version = versionOrder(headerText(headers, 'x-server-version'));
  const minimum = versionOrder(headerText(headers, 'x-min-cluster-version'));
  if (version < versionOrder(identity.minClusterVersion)) return INCOMPATIBLE_VERSION;
  if (versionOrder(identity.serverVersion) < minimum) return INCOMPATIBLE_VERSION;
  const cluster = u64FromHex(headerText(headers, 'x-etcd-cluster-id'));
  return cluster === identity.clusterId ? null : CLUSTER_MISMATCH;
}
