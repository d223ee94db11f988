/** `@etsd/client/fetch`: the client for browsers and edge runtimes, over the JSON gateway. */
import './fetch/buffer.ts';

export { EtcdClient, type FetchClientOptions } from './fetch/client.ts';
export type { Fetch } from './fetch/link.ts';
export * from './shared.ts';
