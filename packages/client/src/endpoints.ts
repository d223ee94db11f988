import { ChannelState, GrpcChannel, type RpcWorld } from '@etsd/rpc';
import type { SocketAddress, TlsOptions } from '@etsd/runtime';
import {
  type ClientOptions,
  DEFAULT_DIAL_TIMEOUT_MS,
  DEFAULT_KEEPALIVE_MS,
  DIAL_BACKOFF_MAX_MS,
  DIAL_BACKOFF_MS,
} from './options.ts';

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
  const match = /^(?:(https?):\/\/)?(\[[^\]]+\]|[^/:]+):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new TypeError(`"${text}" is no endpoint; one looks like 127.0.0.1:2379 or https://host:2379`);
  }
  const host = (match[2] as string).replace(/^\[(.*)\]$/, '$1');
  const tls = match[1] === 'https' ? 'always' : match[1] === 'http' ? 'never' : 'if-configured';
  return { address: { host, port }, tls };
}

interface Place {
  readonly text: string;
  readonly channel: GrpcChannel;
}

/** The channels to the members, made when first needed, and which of them the next call takes. */
export class Endpoints {
  private readonly world: RpcWorld;
  private readonly options: ClientOptions;
  private places: Place[] = [];
  /** Channels to endpoints that a call asked for by name. */
  private readonly named = new Map<string, GrpcChannel>();
  private turn = 0;

  constructor(world: RpcWorld, options: ClientOptions) {
    this.world = world;
    this.options = options;
    this.use(typeof options.endpoints === 'string' ? options.endpoints.split(',') : options.endpoints);
  }

  /** The endpoints in use. */
  get list(): readonly string[] {
    return this.places.map((place) => place.text);
  }

  /** From now on these; connections to the others end once nobody uses them by name. */
  use(endpoints: readonly string[]): void {
    const texts = [...new Set(endpoints.map((text) => text.trim()).filter((text) => text !== ''))];
    const before = this.places;
    this.places = texts.map(
      (text) => before.find((place) => place.text === text) ?? { text, channel: this.open(text) },
    );
    for (const place of before) if (!texts.includes(place.text)) place.channel.close();
  }

  /**
   * The channel for the next call: in turn over those with a connection, then those that may get one, and only then
   * those that have just failed. Null without endpoints.
   */
  next(): GrpcChannel | null {
    const { places } = this;
    const start = this.turn++ % Math.max(1, places.length);
    let best: GrpcChannel | null = null;
    let bestRank = 3;
    for (let i = 0; i < places.length; i++) {
      const { channel } = places[(start + i) % places.length] as Place;
      const rank = channel.state === ChannelState.READY ? 0 : channel.state === ChannelState.FAILING ? 2 : 1;
      if (rank < bestRank) {
        best = channel;
        bestRank = rank;
      }
    }
    return best;
  }

  /** The channel to this endpoint. */
  at(text: string): GrpcChannel {
    const place = this.places.find((each) => each.text === text);
    if (place !== undefined) return place.channel;
    let channel = this.named.get(text);
    if (channel === undefined) {
      channel = this.open(text);
      this.named.set(text, channel);
    }
    return channel;
  }

  close(): void {
    for (const place of this.places) place.channel.close();
    for (const channel of this.named.values()) channel.close();
  }

  private open(text: string): GrpcChannel {
    const { address, tls } = parseEndpoint(text);
    const { options } = this;
    const secure = tls === 'always' || (tls === 'if-configured' && options.tls !== undefined);
    const tlsOptions: TlsOptions = { alpn: ['h2'], ...options.tls };
    return new GrpcChannel(this.world, address, {
      dial: {
        connectTimeoutMs: options.dialTimeoutMs ?? DEFAULT_DIAL_TIMEOUT_MS,
        ...(secure ? { tls: tlsOptions } : {}),
      },
      userAgent: 'etsd-client/0.1',
      backoffMs: DIAL_BACKOFF_MS,
      backoffMaxMs: DIAL_BACKOFF_MAX_MS,
      keepaliveMs: options.keepaliveMs ?? DEFAULT_KEEPALIVE_MS,
      keepaliveTimeoutMs: options.keepaliveTimeoutMs ?? DEFAULT_KEEPALIVE_MS,
    });
  }
}
