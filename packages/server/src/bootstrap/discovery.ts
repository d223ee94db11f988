/**
 * etcd's discovery service, version 3: an ordinary store in which each founding member leaves its peer URLs under
 * `/_etcd/registry/<token>/members/<id>`, and whoever set the token up has written how many there will be. The first so
 * many, in the order in which they registered, found the cluster.
 */
import { errorFrom, type Logger, OperatorError, type U64, u64ToHex } from '@etsd/base';
import { foundingMemberId } from '@etsd/replication';
import { RpcError, StatusCode } from '@etsd/rpc';
import type { World } from '@etsd/runtime';
import { formatInitialCluster, parseInitialCluster } from '../config/initial-cluster.ts';
import { openRegistry } from './registry.ts';
import type { BootstrapParts, ClusterPlan } from './surroundings.ts';

/** Time between two looks at who has registered. */
const POLL_MS = 1000;
/** Longest time between two attempts at a service that does not answer. */
const RETRY_MAX_MS = 32_000;

/** One member as it registered. */
export interface Registration {
  /** The last part of its key: its id in hexadecimal. */
  readonly id: string;
  /** `name=url,name=url`. */
  readonly value: string;
  readonly createRevision: number;
}

/** What a token of the service holds. Every method rejects where the service does not answer. */
export interface Registry {
  /** The text of the size, or null where there is none. */
  size(): Promise<string | null>;
  members(): Promise<Registration[]>;
  register(id: string, value: string): Promise<void>;
  close(): void;
}

/** Registers this member and waits until all are there. */
export async function joinDiscovery(parts: BootstrapParts, plan: ClusterPlan): Promise<Map<string, string[]>> {
  const { config, logger, world } = parts;
  const urls = plan.members.get(config.name) ?? [];
  const registry = await openRegistry(parts);
  try {
    const id = foundingMemberId(urls, plan.token);
    return await discover({ registry, logger, timers: world.timers }, id, formatInitialCluster(plan.members));
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    throw refusal(`discovery: ${error.message}`, 'Check --discovery-user and --discovery-password.');
  } finally {
    registry.close();
  }
}

export interface DiscoveryParts {
  readonly registry: Registry;
  readonly logger: Logger;
  readonly timers: World['timers'];
}

/** The same over any registry: the members of the cluster by name. */
export async function discover(parts: DiscoveryParts, id: U64, value: string): Promise<Map<string, string[]>> {
  const { registry, logger } = parts;
  const hex = u64ToHex(id);
  const look = (): Promise<Standing> => persevere(parts, 'cluster status check', () => standingOf(registry, hex));
  await look();
  await persevere(parts, 'registering', () => registry.register(hex, value));
  logger.log('info', 'registered at the discovery service', { 'member-id': hex, member: value });
  let seen = -1;
  for (;;) {
    const { size, members } = await look();
    if (members.length !== seen) {
      seen = members.length;
      logger.log('info', 'peers of the discovery service', { found: seen, needed: size });
    }
    if (members.length >= size) return planOfRegistrations(members.slice(0, size));
    await pause(parts, POLL_MS);
  }
}

/** How far the cluster of a token has come. */
interface Standing {
  readonly size: number;
  /** In the order in which they registered. */
  readonly members: readonly Registration[];
}

/** Rejects where there is no room for this member. */
async function standingOf(registry: Registry, id: string): Promise<Standing> {
  const text = await registry.size();
  if (text === null) {
    throw refusal(
      'discovery: size key not found',
      'Write the number of members under /_etcd/registry/TOKEN/_config/size of the discovery service.',
    );
  }
  const size = /^\+?\d{1,9}$/.test(text) ? Number(text) : 0;
  if (size === 0) throw refusal('discovery: size key is bad', `It must be a number above 0, not "${text}".`);
  const registered = (await registry.members()).filter(({ value }) => value.includes('='));
  const members = registered.sort((left, right) => left.createRevision - right.createRevision);
  if (members.length >= size && !members.slice(0, size).some((member) => member.id === id)) {
    throw refusal('discovery: cluster is full', `All ${size} members of this token have registered; use a new token.`);
  }
  return { size, members };
}

function planOfRegistrations(registrations: readonly Registration[]): Map<string, string[]> {
  const plan = new Map<string, string[]>();
  for (const { value } of registrations) {
    for (const [name, urls] of parsed(value)) {
      if (plan.has(name)) {
        throw refusal(`discovery: two members are named "${name}"`, 'Give every member a --name of its own.');
      }
      plan.set(name, urls);
    }
  }
  return plan;
}

function parsed(value: string): Map<string, string[]> {
  try {
    return parseInitialCluster(value);
  } catch (error) {
    throw refusal('discovery: invalid peer URL', `One member registered as "${value}": ${errorFrom(error).message}`);
  }
}

function refusal(reason: string, advice: string): OperatorError {
  return new OperatorError(`failed to join discovery cluster (${reason})`, advice);
}

/** Tries until the service answers; what will not get better by trying is passed on. */
async function persevere<T>(parts: DiscoveryParts, what: string, attempt: () => Promise<T>): Promise<T> {
  for (let waitMs = POLL_MS; ; waitMs = Math.min(RETRY_MAX_MS, waitMs * 2)) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof OperatorError || (error instanceof RpcError && isFinal(error.code))) throw error;
      const fields = { retryAfter: `${waitMs / 1000}s`, error: errorFrom(error).message };
      parts.logger.log('warn', `${what} at the discovery service failed; trying again`, fields);
      await pause(parts, waitMs);
    }
  }
}

function isFinal(code: number): boolean {
  return (
    code === StatusCode.UNAUTHENTICATED ||
    code === StatusCode.PERMISSION_DENIED ||
    code === StatusCode.INVALID_ARGUMENT ||
    code === StatusCode.FAILED_PRECONDITION ||
    code === StatusCode.UNIMPLEMENTED
  );
}

function pause({ timers }: DiscoveryParts, ms: number): Promise<void> {
  return new Promise((resolve) => timers.after(ms, resolve));
}
