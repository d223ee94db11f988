import { errorFrom, type Logger } from '@etsd/base';
import type { ApiHandler, ApiWorld } from '../context.ts';
import { apiOperations, gatewayBodyBytes, gatewayValues, type Limits, REQUEST_OVERHEAD_BYTES } from '../limits.ts';
import { HttpApi } from './api/api.ts';
import type { DebugRoutes } from './debug-routes.ts';
import { HttpEdge } from './edge.ts';
import { HttpFront } from './front.ts';
import { Gateway } from './gateway/gateway.ts';
import type { HttpMember } from './routes.ts';
import type { V2Api } from './v2/v2-api.ts';

/** What plain HTTP needs of a member. */
export interface EdgeParts {
  readonly world: ApiWorld;
  readonly logger: Logger;
  readonly limits: Limits;
  readonly config: {
    readonly cors: readonly string[];
    readonly hostWhitelist: readonly string[];
    readonly clientCertAuth: boolean;
    readonly gatewayClientCertAuth: boolean;
    readonly enableGrpcGateway: boolean;
    readonly enableHttpApi: boolean;
  };
  readonly member: HttpMember;
  /** The API of etcd 2, where it is wanted. */
  readonly v2?: V2Api | null;
  readonly handlerOf: (path: string) => ApiHandler | undefined;
  readonly isAuthEnabled: () => boolean;
  /** What is told beside a refusal for want of space. */
  readonly space?: () => Readonly<Record<string, unknown>>;
  readonly debug?: DebugRoutes | null;
  /** Told of connections that are cut for what they send. */
  readonly misused: (kind: string, peer: string, reason: string) => void;
}

/** The HTTP side of a member's client addresses: its routes, the JSON gateway and the HTTP API, as far as they are wanted. */
export function makeHttpEdge(parts: EdgeParts): HttpEdge {
  const { world, logger, limits, config, member, handlerOf, isAuthEnabled, v2 = null } = parts;
  const { maxRequestBytes, maxTxnOps } = limits;
  const bodyBytesMax = gatewayBodyBytes(maxRequestBytes);
  const passesIdentity = config.gatewayClientCertAuth;
  const after = (ms: number, callback: () => void): { cancel(): void } => world.timers.after(ms, callback);
  const calls = { handlerOf, after, bodyBytesMax, passesIdentity };
  const gateway = (): Gateway =>
    new Gateway({
      ...calls,
      messageBytesMax: maxRequestBytes + REQUEST_OVERHEAD_BYTES,
      valuesMax: gatewayValues(maxTxnOps),
    });
  const api = (): HttpApi =>
    new HttpApi({
      ...calls,
      operationsMax: apiOperations(maxTxnOps),
      ...(parts.space === undefined ? {} : { space: parts.space }),
      nowMs: () => world.clock.nowMs(),
      report: (error) =>
        logger.log('error', 'a request over HTTP could not be served', { error: errorFrom(error).stack }),
    });
  const front = new HttpFront({
    member,
    policy: {
      cors: config.cors,
      hostWhitelist: config.hostWhitelist,
      ignoresNames: () => config.clientCertAuth && !passesIdentity && isAuthEnabled(),
    },
    gateway: config.enableGrpcGateway ? gateway() : null,
    api: config.enableHttpApi ? api() : null,
    v2: v2 === null ? null : { api: v2, handlerOf },
    debug: parts.debug ?? null,
  });
  return new HttpEdge(front, bodyBytesMax, parts.misused);
}

/** For the addresses that only show figures and health (`--listen-metrics-urls`): to whoever asks, by whatever name. */
export function makeFiguresEdge({
  limits,
  member,
  misused,
}: Pick<EdgeParts, 'limits' | 'member' | 'misused'>): HttpEdge {
  const policy = { cors: null, hostWhitelist: [], ignoresNames: () => false };
  const front = new HttpFront({ member, policy, gateway: null, api: null, figuresOnly: true });
  return new HttpEdge(front, gatewayBodyBytes(limits.maxRequestBytes), misused);
}
