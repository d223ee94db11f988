import { type EtcdError, GrpcCode } from '@etsd/proto';
import type { Clock, SocketAddress } from '@etsd/runtime';
import { TimeoutError } from './errors.ts';
import { type Link, LinkRank, type Transport } from './link.ts';
import { RETIRE_MS, SUSPECT_MAX_MS, SUSPECT_MS } from './options.ts';

/** Where a member listens, and whether its address says anything about TLS. */
export interface Endpoint {
  readonly address: SocketAddress;
  readonly tls: 'always' | 'never' | 'if-configured';
}

/** Reads an endpoint as etcd's own client does. Throws `TypeError` that shows the right form. */
export function parseEndpoint(text: string): Endpoint {
  const unix = /^(unixs?):(?:\/\/)?(.+)$/.exec(text);
  if (unix !== null) {
    return { address: { path: unix[2] as string }, tls: unix[1] === 'unixs' ? 'always' : 'if-configured' };
  }
  const match = /^(?:(https?):\/\/)?(\[[^\]\s]+\]|[^/:\s]+):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new TypeError(`"${text}" is no endpoint; one looks like 127.0.0.1:2379 or https://host:2379`);
  }
  const host = (match[2] as string).replace(/^\[(.*)\]$/, '$1');
  const tls = match[1] === 'https' ? 'always' : match[1] === 'http' ? 'never' : 'if-configured';
  return { address: { host, port }, tls };
}

/** One endpoint: the way to it, and what it was like lately. */
export class Place {
  readonly text: string;
  readonly link: Link;
  private readonly clock: Clock;
  private failures = 0;
  /** Others are asked first until then. */
  private suspectUntilMs = 0;

  constructor(text: string, link: Link, clock: Clock) {
    this.text = text;
    this.link = link;
    this.clock = clock;
  }

  get rank(): LinkRank {
    const { rank } = this.link;
    if (this.failures === 0 || rank === LinkRank.FAILING) return rank;
    return this.clock.nowMs() < this.suspectUntilMs ? LinkRank.SUSPECT : rank;
  }

  worked(): void {
    this.failures = 0;
  }

  /** Whether the last that was heard of it was bad. */
  get hasFailed(): boolean {
    return this.failures > 0;
  }

  /** A call goes there. Where it failed before, that one finds out: others wait for what becomes of it. */
  taken(): void {
    if (this.failures > 0) this.suspectUntilMs = this.clock.nowMs() + this.pauseMs(this.failures);
  }

  /**
   * Told how a call ended. A member that cannot be reached, does not answer or has no leader is left alone for a while,
   * the longer the more often it was so; then one call finds out.
   */
  ended(error: EtcdError): void {
    if (error.code !== GrpcCode.Unavailable && !(error instanceof TimeoutError)) return;
    this.suspectUntilMs = this.clock.nowMs() + this.pauseMs(this.failures++);
  }

  private pauseMs(failures: number): number {
    return Math.min(SUSPECT_MAX_MS, SUSPECT_MS * 2 ** Math.min(failures, 10));
  }
}

/** How an endpoint looks to this client. */
export interface EndpointState {
  readonly endpoint: string;
  /** `connected`; `idle`: not tried or not needed yet; `suspect`: failed lately, asked last; `failing`: cannot be reached. */
  readonly state: 'connected' | 'idle' | 'suspect' | 'failing';
}

/** The links to the members, made when first needed, and which of them the next call takes. */
export class Endpoints {
  private readonly transport: Transport;
  private places: Place[] = [];
  /** Those that a call asked for by name. */
  private readonly named = new Map<string, Place>();
  /** Not in use any more, but perhaps not idle yet. */
  private readonly retired = new Set<Place>();
  private turn = 0;
  /** Whether the last call found a connection. */
  private isConnected = false;

  constructor(transport: Transport, endpoints: string | readonly string[]) {
    this.transport = transport;
    this.use(typeof endpoints === 'string' ? endpoints.split(',') : endpoints);
  }

  /** The endpoints in use. */
  get list(): readonly string[] {
    return this.places.map((place) => place.text);
  }

  get count(): number {
    return this.places.length;
  }

  get states(): EndpointState[] {
    return this.places.map((place) => ({ endpoint: place.text, state: STATES[place.rank] }));
  }

  /** From now on these. Calls under way to the others have some time to end. */
  use(endpoints: readonly string[]): void {
    const texts = [...new Set(endpoints.map((text) => text.trim()).filter((text) => text !== ''))];
    const before = this.places;
    this.places = texts.map((text) => before.find((place) => place.text === text) ?? this.open(text));
    for (const place of before) if (!texts.includes(place.text)) this.retire(place);
  }

  private retire(place: Place): void {
    this.retired.add(place);
    const end = (): void => {
      place.link.close();
      this.retired.delete(place);
    };
    this.transport.world.timers.after(RETIRE_MS, end, { ref: false });
  }

  /**
   * Where the next call goes: in turn over those with a connection, then those that may get one, and only then those
   * that failed lately. Null without endpoints.
   */
  next(): Place | null {
    const { places } = this;
    const start = this.turn++ % Math.max(1, places.length);
    let best: Place | null = null;
    let bestRank: number = LinkRank.FAILING + 1;
    for (let i = 0; i < places.length; i++) {
      const place = places[(start + i) % places.length] as Place;
      let { rank } = place;
      // Calls do not wait for a connection while there is another one, nor for one that failed before to stand again.
      if (rank === LinkRank.IDLE && (place.hasFailed || bestRank === LinkRank.READY || this.isConnected)) {
        if (place.link.warm()) rank = LinkRank.SUSPECT;
      }
      if (rank < bestRank) {
        best = place;
        bestRank = rank;
      }
    }
    this.isConnected = bestRank === LinkRank.READY;
    best?.taken();
    return best;
  }

  /** This endpoint. */
  at(text: string): Place {
    let place = this.places.find((each) => each.text === text) ?? this.named.get(text);
    if (place === undefined) {
      place = this.open(text);
      this.named.set(text, place);
    }
    return place;
  }

  close(): void {
    for (const place of this.places) place.link.close();
    for (const place of this.named.values()) place.link.close();
    for (const place of this.retired) place.link.close();
  }

  private open(text: string): Place {
    return new Place(text, this.transport.link(text), this.transport.world.clock);
  }
}

const STATES = ['connected', 'idle', 'suspect', 'failing'] as const;
