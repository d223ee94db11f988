/** The same two calls by three clients. */
import { join } from 'node:path';
import { EtcdClient } from '@etsd/client';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Etcd3 } from 'etcd3';
import { ROOT } from '../support/binaries.ts';

/** What is compared. */
export interface Subject {
  put(key: string, value: Buffer): Promise<unknown>;
  /** The value, or null. */
  get(key: string): Promise<Buffer | null>;
  close(): void;
}

function ours(address: string): Subject {
  const client = new EtcdClient({ endpoints: address });
  return {
    put: (key, value) => client.kv.put(key, value),
    get: async (key) => (await client.kv.get(key))?.value ?? null,
    close: () => void client.close(),
  };
}

function etcd3(address: string): Subject {
  const client = new Etcd3({ hosts: `http://${address}` });
  return {
    put: (key, value) => client.put(key).value(value).exec(),
    get: (key) => client.get(key).buffer(),
    close: () => client.close(),
  };
}

type Unary = (request: object, done: (error: Error | null, response: Answer) => void) => void;
interface Answer {
  readonly kvs: readonly { readonly value: Buffer }[];
}

/** As its documentation has it: loaded at run time from the schema, one promise around each call. */
function grpcJs(address: string): Subject {
  const schema = join(ROOT, 'packages/proto/schema');
  const definition = loadSync('rpc.proto', { includeDirs: [schema], keepCase: true, longs: String, bytes: Buffer });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as {
    etcdserverpb: { KV: grpc.ServiceClientConstructor };
  };
  const client = new loaded.etcdserverpb.KV(address, grpc.credentials.createInsecure());
  const { Put, Range } = client as unknown as { Put: Unary; Range: Unary };
  const call = (method: Unary, request: object): Promise<Answer> =>
    new Promise((resolve, reject) => {
      method.call(client, request, (error, response) => (error === null ? resolve(response) : reject(error)));
    });
  return {
    put: (key, value) => call(Put, { key: Buffer.from(key), value }),
    get: async (key) => (await call(Range, { key: Buffer.from(key) })).kvs?.[0]?.value ?? null,
    close: () => client.close(),
  };
}

export const CLIENTS = {
  '@etsd/client': async (address: string) => ours(address),
  etcd3: async (address: string) => etcd3(address),
  '@grpc/grpc-js': async (address: string) => grpcJs(address),
} satisfies Record<string, (address: string) => Promise<Subject>>;
export type ClientName = keyof typeof CLIENTS;
