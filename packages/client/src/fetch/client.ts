import { Caller } from '../caller.ts';
import { Client } from '../core.ts';
import type { ClientWorld } from '../link.ts';
import type { ClientOptions } from '../options.ts';
import { type Fetch, FetchTransport } from './link.ts';
import { webWorld } from './world.ts';

/** As `ClientOptions`; how connections are made and kept is the runtime's affair here. */
export interface FetchClientOptions
  extends Omit<ClientOptions, 'tls' | 'dialTimeoutMs' | 'keepaliveMs' | 'keepaliveTimeoutMs'> {
  /** Instead of the runtime's own. */
  readonly fetch?: Fetch;
  /** Sent with every request, for what stands before the gateway. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A cluster as its user sees it, over `fetch` and the JSON gateway of its members. */
export class EtcdClient extends Client {
  /** Throws `TypeError` for an endpoint that is none. */
  constructor(options: FetchClientOptions, world: ClientWorld = webWorld()) {
    const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
    super(new Caller(new FetchTransport(world, fetch, options.headers ?? {}), options), options);
  }
}
