import type { Logger } from '@etsd/base';
import { RpcServer } from '@etsd/rpc';
import type { Socket, World } from '@etsd/runtime';
import type { GuardedServer } from './access.ts';
import type { MemberConfig } from './config/config.ts';
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
    handlerOf: (path) => guarded.handlerOf(path),
    isAuthEnabled: parts.isAuthOn,
    space: parts.space,
  });
  serveHttp(rpc, edge);
  for (const listener of gate.listeners) rpc.adopt(listener);
  if (config.listenMetricsUrls.length === 0) {
    gate.open((socket) => rpc.accept(socket));
    return { close: () => Promise.resolve(edge.close()) };
  }
  // Addresses for figures are open where the others demand certificates: a transport without a single method serves them.
  const watched = new RpcServer(world, { logger, limits: rpcLimits(config, 0), onMisuse: misused });
  const figures = makeFiguresEdge({ limits, member, misused });
  serveHttp(watched, figures);
  gate.open(
    (socket: Socket) => rpc.accept(socket),
    (socket: Socket) => watched.accept(socket),
  );
  return {
    async close() {
      edge.close();
      figures.close();
      await watched.close();
    },
  };
}

function serveHttp(rpc: RpcServer, edge: HttpEdge): void {
  rpc.handleHttp(edge);
  rpc.onHttp1((socket, firstBytes) => {
    const peer = socket.remoteAddress;
    edge.accept(socket.detach(), firstBytes, () => rpc.addresses.leave(peer));
  });
}
