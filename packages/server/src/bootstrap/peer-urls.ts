/** Whether two lists of peer URLs mean the same addresses, as etcd compares them: as written, or else as resolved. */
import { errorFrom, type Logger } from '@etsd/base';
import type { World } from '@etsd/runtime';
import { parseEndpoint } from '../config/values.ts';

/** How long names are tried that cannot be resolved: a member may start before its records are known. */
const RESOLVE_MS = 30_000;
const RETRY_MS = 1000;

export interface UrlWorld {
  readonly world: Pick<World, 'names' | 'timers' | 'clock'>;
  readonly logger: Logger;
}

/** Null where they are the same; else in what they differ. */
export async function differenceOfUrls(
  surroundings: UrlWorld,
  left: readonly string[],
  right: readonly string[],
): Promise<string | null> {
  if (left.length !== right.length) return `len(${quoted(left)}) != len(${quoted(right)})`;
  if (isSameSet(left, right)) return null;
  const deadlineMs = surroundings.world.clock.nowMs() + RESOLVE_MS;
  try {
    const resolvedLeft = await resolveAll(surroundings, left, deadlineMs);
    const resolvedRight = await resolveAll(surroundings, right, deadlineMs);
    if (isSameSet(resolvedLeft, resolvedRight)) return null;
    return `resolved urls: ${quoted(resolvedLeft)} != ${quoted(resolvedRight)}`;
  } catch (error) {
    return errorFrom(error).message;
  }
}

async function resolveAll(surroundings: UrlWorld, urls: readonly string[], deadlineMs: number): Promise<string[]> {
  const resolved: string[] = [];
  for (const url of urls) resolved.push(await resolve(surroundings, url, deadlineMs));
  return resolved.sort();
}

/** The URL with its host's address; that of a socket and of `localhost` stays as it is. */
async function resolve({ world, logger }: UrlWorld, url: string, deadlineMs: number): Promise<string> {
  const { scheme, host, port } = parseEndpoint(url);
  if (scheme === 'unix' || scheme === 'unixs' || host === 'localhost') return url;
  for (;;) {
    try {
      const address = (await world.names.addresses(host))[0] ?? host;
      return `${scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`;
    } catch (error) {
      logger.log('warn', 'failed to resolve URL Host', { url, host, error: errorFrom(error).message });
      if (world.clock.nowMs() + RETRY_MS > deadlineMs) throw error;
      await new Promise<void>((done) => world.timers.after(RETRY_MS, done));
    }
  }
}

function isSameSet(left: readonly string[], right: readonly string[]): boolean {
  const sorted = [...right].sort();
  return left.length === right.length && [...left].sort().every((url, index) => url === sorted[index]);
}

/** As Go's `%q` shows a list. */
function quoted(urls: readonly string[]): string {
  return `[${urls.map((url) => JSON.stringify(url)).join(' ')}]`;
}
