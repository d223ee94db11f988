import type { RpcWorld } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import { Caller } from './caller.ts';
import { Client } from './core.ts';
import { GrpcTransport } from './grpc-link.ts';
import type { ClientOptions } from './options.ts';
import type { OpenTelemetry } from './telemetry.ts';

/**
 * A cluster as its user sees it, over gRPC. Connections are made when needed and made again when lost; `close` ends them.
 */
export class EtcdClient extends Client {
  /** Throws `TypeError` for an endpoint that is none, `RangeError` for a time that is none. `world` is what the simulator replaces. */
  constructor(options: ClientOptions, world: RpcWorld = nodeWorld()) {
    super(new Caller(new GrpcTransport(world, options), options, loadTelemetry), options);
  }
}

/** OpenTelemetry's API, where the program has it. */
async function loadTelemetry(): Promise<OpenTelemetry | null> {
  try {
    return (await import('@opentelemetry/api')) as unknown as OpenTelemetry;
  } catch {
    return null;
  }
}
