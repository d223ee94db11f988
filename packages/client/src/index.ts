export { EtcdClient } from './client.ts';
export { type Endpoint, parseEndpoint } from './endpoints.ts';
export * from './shared.ts';
