/**
 * The JSON gateway: every method under `/v3/`, as etcd's gateway (grpc-gateway) offers it. A request becomes a call to
 * the member's own handler, behind the same rules as a call by gRPC; nothing goes over a socket.
 */
import { JsonError, jsonToWire, METHODS, planOf } from '@etsd/proto';
import type { ApiHandler } from '../../context.ts';
import type { WebExchange } from '../web-exchange.ts';
import { BodyMessages } from './body-messages.ts';
import { type GatewayCallParts, type GatewayRoute, respondError } from './gateway-call.ts';
import { StreamGatewayCall } from './stream-call.ts';
import { UnaryGatewayCall } from './unary-call.ts';

export const GATEWAY_PREFIX = '/v3/';

export interface GatewayParts extends GatewayCallParts {
  /** The handler of a method, by its gRPC path. */
  readonly handlerOf: (path: string) => ApiHandler | undefined;
}

const OVERRIDE_TYPE = 'application/x-www-form-urlencoded';
const TIMEOUT_UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
/** Who waits less than this is not waiting any more. */
const TIMEOUT_MS_MIN = 0.1;
/** Longest timer of the platform; a call that may take longer may take for ever. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class Gateway {
  private readonly routes = new Map<string, GatewayRoute>();
  private readonly parts: GatewayParts;

  constructor(parts: GatewayParts) {
    this.parts = parts;
    for (const { path, kind, request, response, gatewayPaths } of METHODS) {
      const handler = parts.handlerOf(path);
      if (handler === undefined) continue;
      const route: GatewayRoute = {
        handler,
        isStream: kind !== 'unary',
        isBidirectional: kind === 'bidi',
        request: planOf(request.typeName),
        response: planOf(response.typeName),
      };
      for (const gatewayPath of gatewayPaths) this.routes.set(gatewayPath, route);
    }
  }

  /** Serves a request whose path begins with the prefix. `headers` are those of every answer. */
  serve(exchange: WebExchange, path: string, headers: readonly string[]): void {
    const route = this.routes.get(path);
    if (route === undefined) {
      respondError(exchange, headers, 5, 'Not Found');
      return;
    }
    const overridden = overriddenMethod(exchange);
    if ((overridden ?? exchange.method) !== 'POST') {
      respondError(exchange, headers, 12, 'Method Not Allowed');
      return;
    }
    const timeout = exchange.header('grpc-timeout');
    const timeoutMs = timeout === undefined || timeout === '' ? Number.POSITIVE_INFINITY : parseTimeoutMs(timeout);
    if (timeoutMs === null) {
      respondError(exchange, headers, 3, `invalid grpc-timeout: ${timeout}`);
      return;
    }
    if (timeoutMs < TIMEOUT_MS_MIN) {
      respondError(exchange, headers, 4, 'context deadline exceeded');
      return;
    }
    if (route.isBidirectional) this.serveBidirectional(exchange, route, headers, timeoutMs);
    // To be told the method by a header makes etcd read the body as a form: nothing is left of it.
    else this.serveSingle(exchange, route, headers, timeoutMs, overridden !== undefined);
  }

  private serveBidirectional(
    exchange: WebExchange,
    route: GatewayRoute,
    headers: readonly string[],
    timeoutMs: number,
  ): void {
    const call = new StreamGatewayCall(exchange, route, headers, this.parts);
    if (timeoutMs < TIMER_MS_MAX) call.limitTime(timeoutMs);
    call.open(new BodyMessages(route.request, this.parts, call));
  }

  private serveSingle(
    exchange: WebExchange,
    route: GatewayRoute,
    headers: readonly string[],
    timeoutMs: number,
    ignoresBody: boolean,
  ): void {
    const { bodyBytesMax, messageBytesMax, valuesMax } = this.parts;
    exchange.readBody(bodyBytesMax, (body) => {
      if (body === null) {
        respondError(exchange, headers, 8, `http: request body larger than max (${bodyBytesMax})`);
        return;
      }
      let request: Buffer;
      try {
        request = jsonToWire(route.request, ignoresBody ? Buffer.alloc(0) : body, valuesMax);
      } catch (error) {
        if (!(error instanceof JsonError)) throw error;
        respondError(exchange, headers, 3, error.message);
        return;
      }
      if (request.length > messageBytesMax) {
        const message = `grpc: received message larger than max (${request.length} vs. ${messageBytesMax})`;
        respondError(exchange, headers, 8, message);
        return;
      }
      const call = route.isStream
        ? new StreamGatewayCall(exchange, route, headers, this.parts)
        : new UnaryGatewayCall(exchange, route, headers, this.parts);
      if (timeoutMs < TIMER_MS_MAX) call.limitTime(timeoutMs);
      call.run(request);
    });
  }
}

/** Clients behind proxies that let only some methods pass name theirs in a header. */
function overriddenMethod(exchange: WebExchange): string | undefined {
  const named = exchange.header('x-http-method-override');
  if (named === undefined || named === '' || exchange.method !== 'POST') return undefined;
  return exchange.header('content-type') === OVERRIDE_TYPE ? named.toUpperCase() : undefined;
}

function parseTimeoutMs(text: string): number | null {
  const match = /^([-+]?\d{1,19})([HMSmun])$/.exec(text);
  if (match === null) return null;
  const ms = Number(match[1]) * (TIMEOUT_UNITS_MS[match[2] as string] as number);
  return ms === 0 ? Number.POSITIVE_INFINITY : Math.max(0, ms);
}
