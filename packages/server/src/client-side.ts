import type { Logger } from '@etsd/base';
import { RpcServer } from '@etsd/rpc';
import type { World } from '@etsd/runtime';
import type { GuardedServer } from './access.ts';
import type { MemberConfig } from './config/config.ts';
import { countedHandlers } from './http/counted-handler.ts';
import type { DebugRoutes } from './http/debug-routes.ts';
import type { HttpEdge, Misused } from './http/edge.ts';
import { makeFiguresEdge, makeHttpEdge } from './http/make-edge.ts';
import type { HttpMember } from './http/routes.ts';
import type { V2Api } from './http/v2/v2-api.ts';
import type { Gate } from './listeners.ts';
import { memberLimits, rpcLimits } from './member-limits.ts';

export interface ClientSideParts {
  readonly world: World;
  readonly config: MemberConfig;
  readonly logger: Logger;
  readonly gate: Gate;
  readonly rpc: RpcServer;
  readonly guarded: GuardedServer;
  readonly member: HttpMember;
  readonly v2: V2Api | null;
  readonly isAuthOn: () => boolean;
  /** What the HTTP API tells beside a refusal for want of space. */
  readonly space: () => Readonly<Record<string, unknown>>;
  readonly misused: Misused;
  readonly debug?: DebugRoutes;
}

/** What serves clients over plain HTTP. */
export interface ClientSide {
  /** Ends all that goes on there. */
  close(): Promise<void>;
}

/** Lets clients in who wait at the gate, and all that come: gRPC, the gateway and plain HTTP on the same addresses. */
export function admitClients(parts: ClientSideParts): ClientSide {
  const { world, logger, config, member, misused, gate, rpc, guarded } = parts;
  const limits = memberLimits(config);
  const edge = makeHttpEdge({
    world,
    logger,
    config,
    limits,
    member,
    v2: parts.v2,
    misused,
    handlerOf: countedHandlers((path) => guarded.handlerOf(path), rpc),
    isAuthEnabled: parts.isAuthOn,
    space: parts.space,
    debug: parts.debug ?? null,
  });
  serveHttp(rpc, edge);
  for (const listener of gate.listeners) rpc.adopt(listener);
  gate.open((socket) => rpc.accept(socket));
  return { close: () => Promise.resolve(edge.close()) };
}

export type FiguresSideParts = Pick<ClientSideParts, 'world' | 'config' | 'logger' | 'gate' | 'member' | 'misused'>;

/**
 * Serves the addresses for figures, where there are any: from the moment the member runs, whether it finds the others or not,
 * since that is what whoever watches over it wants to know.
 */
export function showFigures({ world, config, logger, gate, member, misused }: FiguresSideParts): ClientSide {
  if (config.listenMetricsUrls.length === 0) return { close: () => Promise.resolve() };
  // These are open where the others demand certificates: a transport without a single method serves them.
  const watched = new RpcServer(world, { logger, limits: rpcLimits(config, 0), onMisuse: misused });
  const figures = makeFiguresEdge({ limits: memberLimits(config), member, misused });
  serveHttp(watched, figures);
  gate.openForFigures((socket) => watched.accept(socket));
  return {
    async close() {
      figures.close();
      await watched.close();
    },
  };
}

function serveHttp(rpc: RpcServer, edge: HttpEdge): void {
  rpc.handleHttp(edge);
  rpc.onHttp1((socket, firstBytes) => {
    const peer = socket.remoteAddress;
    edge.accept(socket.detach(), firstBytes, {
      asked: () => socket.asked(),
      gone: () => rpc.addresses.leave(peer),
    });
  });
}
