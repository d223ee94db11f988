import { u64ToHex } from '@etsd/base';
import type { Timer } from '@etsd/runtime';
import type { RequestOptions } from './http-client.ts';
import { CLOCK_DIFFERENCE_MS, POST_TIMEOUT_MS, PROBE_INTERVAL_MS, PROBE_WARNING_MS } from './limits.ts';
import type { PeerLink } from './peer-link.ts';

const PROBE: RequestOptions = {
  method: 'GET',
  path: '/raft/probing',
  headers: {},
  body: null,
  isStreaming: false,
  isAlone: false,
};

/** The body with which a probe is answered. */
export function probeAnswer(wallMs: number): string {
  return `{"OK":true,"Now":"${new Date(wallMs).toISOString()}"}\n`;
}

/** Wall-clock time in the answer to a probe, in milliseconds; null where it is no such answer. */
export function probedTime(body: Buffer): number | null {
  if (body.length > 1024) return null;
  try {
    const answer = JSON.parse(body.toString('utf8')) as unknown;
    if (typeof answer !== 'object' || answer === null) return null;
    const { OK: ok, Now: now } = answer as { OK?: unknown; Now?: unknown };
    if (ok !== true || typeof now !== 'string') return null;
    const time = Date.parse(now);
    return Number.isNaN(time) ? null : time;
  } catch {
    return null;
  }
}

/** Asks a peer for its time every few seconds: how long the way is, and how far the clocks are apart. */
export class Prober {
  private readonly link: PeerLink;
  private timer: Timer | null = null;
  private isAsking = false;
  private warnedMs = Number.NEGATIVE_INFINITY;
  /** Smoothed round trip time in milliseconds; 0 before the first. */
  roundTripMs = 0;

  constructor(link: PeerLink) {
    this.link = link;
  }

  start(): void {
    this.timer = this.link.world.timers.every(PROBE_INTERVAL_MS, this.probe, { ref: false });
  }

  private readonly probe = (): void => {
    const { link } = this;
    const address = link.urls.pick();
    if (this.isAsking || address === null) return;
    this.isAsking = true;
    const { clock } = link.world;
    const startMs = clock.nowMs();
    link.client.call(address, PROBE, POST_TIMEOUT_MS, (error, status, _headers, body) => {
      this.isAsking = false;
      if (this.timer === null) return;
      const tripMs = clock.nowMs() - startMs;
      const time = error === null && status === 200 ? probedTime(body) : null;
      if (time !== null) this.answered(tripMs, time + tripMs / 2 - clock.wallMs());
      else this.unanswered(error?.message ?? `unexpected http status ${status}`);
      if (error !== null) link.urls.unreachable(address);
    });
  };

  private unanswered(error: string): void {
    this.warn('prober detected unhealthy status', { rtt: `${this.roundTripMs.toFixed(3)}ms`, error });
  }

  /** One warning of either kind in a while. */
  private warn(what: string, fields: Readonly<Record<string, unknown>>): void {
    const { link } = this;
    const nowMs = link.world.clock.nowMs();
    if (nowMs - this.warnedMs < PROBE_WARNING_MS) return;
    this.warnedMs = nowMs;
    link.logger.log('warn', what, { 'remote-peer-id': u64ToHex(link.id), ...fields });
  }

  private answered(tripMs: number, differenceMs: number): void {
    const { link } = this;
    this.roundTripMs = this.roundTripMs === 0 ? tripMs : this.roundTripMs * 0.875 + tripMs * 0.125;
    link.counters.roundTrips.observe(tripMs / 1000);
    if (Math.abs(differenceMs) <= CLOCK_DIFFERENCE_MS) return;
    this.warn('prober found high clock drift', {
      'clock-drift': `${Math.round(differenceMs)}ms`,
      rtt: `${tripMs.toFixed(3)}ms`,
    });
  }

  close(): void {
    this.timer?.cancel();
    this.timer = null;
  }
}
