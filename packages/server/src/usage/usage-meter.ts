import { hostOf } from '@etsd/rpc';
import type { Access } from '../access.ts';
import type { ApiCall, ApiWorld } from '../context.ts';
import { shownPrefix } from '../space/largest-prefixes.ts';
import type { KeyFinder } from './request-keys.ts';
import { type Sum, TopCounts } from './top-counts.ts';

/**
 * Of so many requests one is looked at, on average; and where more than that many of a second have been looked at already. A
 * look costs as much as a third of a put at least: names, maps and places that nothing else of a put touches.
 */
const STRIDE = 16;
const LOOKS_A_SECOND = 250;
const BUSY_STRIDE = 512;
const SECOND_MS = 1000;
/** Names told apart in each list and window. */
const NAMES_MAX = 256;
/** Windows that are told, and how long one is, in milliseconds. */
const WINDOWS = 5;
const WINDOW_MS = 60_000;
/** Characters of a key that are kept. */
const NAME_MAX = 200;
/** Where the distances begin: drawn here, and not by the world, whose draws a simulation has to find again. */
const SEED = 0x2545f491;

/** Somebody or something that was busy in the last minutes. */
export interface Busy {
  readonly name: string;
  readonly reads: number;
  readonly writes: number;
  /** Of its requests. */
  readonly bytes: number;
}

export interface BusyReport {
  /** How long was looked, in milliseconds. */
  readonly windowMs: number;
  /** Requests in that time. */
  readonly requests: number;
  readonly keys: readonly Busy[];
  readonly users: readonly Busy[];
  readonly peers: readonly Busy[];
}

class Window {
  requests = 0;
  readonly keys = new TopCounts(NAMES_MAX);
  readonly users = new TopCounts(NAMES_MAX);
  readonly peers = new TopCounts(NAMES_MAX);

  clear(): void {
    this.requests = 0;
    this.keys.clear();
    this.users.clear();
    this.peers.clear();
  }
}

/**
 * Which keys, users and addresses the requests of the last five minutes were about, in windows of a minute and bounded
 * memory. One request in sixteen is looked at, of those beyond 4,000 in a second one in 512, at distances drawn at random,
 * so that no pattern of requests hides from it; each stands for those it was chosen among.
 */
export class UsageMeter {
  private readonly world: ApiWorld;
  private readonly access: Pick<Access, 'identify' | 'auth'>;
  private readonly windows = Array.from({ length: WINDOWS + 1 }, () => new Window());
  /** The one that is being filled. */
  private at = 0;
  private windowSinceMs: number;
  private readonly sinceMs: number;
  /** Requests until the next one that is looked at, and the distance that was drawn. */
  private left = 1;
  private weight = 1;
  /** When the present second began, and how many were looked at in it. */
  private secondMs: number;
  private looks = 0;
  private seed: number;

  constructor(world: ApiWorld, access: Pick<Access, 'identify' | 'auth'>) {
    this.world = world;
    this.access = access;
    this.windowSinceMs = this.sinceMs = this.secondMs = world.clock.nowMs();
    this.seed = SEED;
  }

  /** Takes note of a request. */
  count(call: ApiCall, find: KeyFinder | null, isWrite: boolean, bytes: Buffer, start: number, end: number): void {
    if (--this.left > 0) return;
    this.look(call, find, isWrite, bytes, start, end);
  }

  private look(
    call: ApiCall,
    find: KeyFinder | null,
    isWrite: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const nowMs = this.world.clock.nowMs();
    this.turn(nowMs);
    if (nowMs - this.secondMs >= SECOND_MS) {
      this.secondMs = nowMs;
      this.looks = 0;
    }
    const stride = ++this.looks > LOOKS_A_SECOND ? BUSY_STRIDE : STRIDE;
    const { weight } = this;
    const window = this.windows[this.at] as Window;
    window.requests += weight;
    window.peers.add(hostOf(call.peer), isWrite, end - start, weight);
    if (this.access.auth.enabled) {
      const { user, by } = this.access.identify(call);
      window.users.add(user === '' ? `(${by})` : user, isWrite, end - start, weight);
    }
    find?.(bytes, start, end, (name, changes, size) => {
      window.keys.add(name.length > NAME_MAX ? `${name.slice(0, NAME_MAX)}...` : name, changes, size, weight);
    });
    this.seed ^= this.seed << 13;
    this.seed ^= this.seed >>> 17;
    this.seed ^= this.seed << 5;
    this.weight = this.left = 1 + ((this.seed >>> 8) % (2 * stride - 1));
  }

  /** Begins new windows where their time has come. */
  private turn(nowMs: number): void {
    let passed = Math.floor((nowMs - this.windowSinceMs) / WINDOW_MS);
    if (passed <= 0) return;
    this.windowSinceMs += passed * WINDOW_MS;
    for (passed = Math.min(passed, this.windows.length); passed > 0; passed--) {
      this.at = (this.at + 1) % this.windows.length;
      (this.windows[this.at] as Window).clear();
    }
  }

  /** The busiest of each kind, at most `limit`. */
  report(limit: number): BusyReport {
    const nowMs = this.world.clock.nowMs();
    this.turn(nowMs);
    let requests = 0;
    for (const window of this.windows) requests += window.requests;
    const windowMs = Math.min(nowMs - this.sinceMs, nowMs - this.windowSinceMs + WINDOWS * WINDOW_MS);
    return {
      windowMs: Math.round(windowMs),
      requests,
      keys: this.busiest((window) => window.keys, limit).map((busy) => ({ ...busy, name: shownPrefix(busy.name) })),
      users: this.busiest((window) => window.users, limit),
      peers: this.busiest((window) => window.peers, limit),
    };
  }

  private busiest(listOf: (window: Window) => TopCounts, limit: number): Busy[] {
    const sums = new Map<string, Sum>();
    for (const window of this.windows) listOf(window).addTo(sums);
    return [...sums]
      .sort(([a, left], [b, right]) => total(right) - total(left) || (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([name, { reads, writes, bytes }]) => ({ name, reads, writes, bytes }));
  }
}

function total({ reads, writes }: Sum): number {
  return reads + writes;
}
