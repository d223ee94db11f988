import { errorFrom, type Logger } from '@etsd/base';
import type { RpcServer } from '@etsd/rpc';
import type { World } from '@etsd/runtime';
import type { GuardedServer } from './access.ts';
import type { MemberConfig } from './config/config.ts';
import { HttpApi } from './http/api/api.ts';
import { HttpEdge, type Misused } from './http/edge.ts';
import { HttpFront } from './http/front.ts';
import { Gateway } from './http/gateway/gateway.ts';
import type { HttpMember } from './http/routes.ts';
import { gatewayBodyBytes, REQUEST_OVERHEAD_BYTES } from './limits.ts';
import type { Gate } from './listeners.ts';
import { memberLimits } from './member-limits.ts';

export interface ClientSideParts {
  readonly world: World;
  readonly config: MemberConfig;
  readonly logger: Logger;
  readonly gate: Gate;
  readonly rpc: RpcServer;
  readonly guarded: GuardedServer;
  readonly member: HttpMember;
  readonly isAuthOn: () => boolean;
  readonly misused: Misused;
}

/** Lets clients in who wait at the gate, and all that come: gRPC, the gateway and plain HTTP on the same addresses. */
export function admitClients(parts: ClientSideParts): HttpEdge {
  const { gate, rpc } = parts;
  const edge = new HttpEdge(
    frontOf(parts),
    gatewayBodyBytes(memberLimits(parts.config).maxRequestBytes),
    parts.misused,
  );
  rpc.handleHttp(edge);
  rpc.onHttp1((socket, firstBytes) => {
    const peer = socket.remoteAddress;
    edge.accept(socket.detach(), firstBytes, () => rpc.addresses.leave(peer));
  });
  for (const listener of gate.listeners) rpc.adopt(listener);
  gate.open((socket) => rpc.accept(socket));
  return edge;
}

function frontOf({ world, config, logger, guarded, member, isAuthOn }: ClientSideParts): HttpFront {
  const { maxRequestBytes } = memberLimits(config);
  const callParts = {
    handlerOf: (path: string) => guarded.handlerOf(path),
    after: (ms: number, callback: () => void) => world.timers.after(ms, callback, { ref: false }),
    bodyBytesMax: gatewayBodyBytes(maxRequestBytes),
    passesIdentity: config.gatewayClientCertAuth,
  };
  const gateway = new Gateway({ ...callParts, messageBytesMax: maxRequestBytes + REQUEST_OVERHEAD_BYTES });
  const report = (error: unknown): void =>
    logger.log('error', 'a request over HTTP could not be served', { error: errorFrom(error).stack });
  const api = new HttpApi({ ...callParts, report, nowMs: () => world.clock.nowMs() });
  const ignoresNames = (): boolean => config.clientCertAuth && !config.gatewayClientCertAuth && isAuthOn();
  return new HttpFront({
    member,
    policy: { cors: config.cors, hostWhitelist: config.hostWhitelist, ignoresNames },
    gateway: config.enableGrpcGateway ? gateway : null,
    api: config.enableHttpApi ? api : null,
  });
}
