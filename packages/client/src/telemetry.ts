/**
 * Spans by OpenTelemetry, for programs that use it. Its API is a peer that need not be there: it is described here by the
 * few functions that are called.
 */
import { CanceledError, clientError } from './errors.ts';
import type { Interceptor } from './intercept.ts';

interface Span {
  setAttribute(name: string, value: string | number): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): void;
  end(): void;
}

/** `@opentelemetry/api`, as far as it is used. */
export interface OpenTelemetry {
  readonly trace: {
    getTracer(name: string): { startSpan(name: string, options: object, context?: never): Span };
    setSpan(context: never, span: never): unknown;
  };
  readonly context: { active(): unknown };
  readonly propagation: { inject(context: never, carrier: never, setter?: never): void };
}

/** `SpanKind.CLIENT` and `SpanStatusCode.ERROR` of the API. */
const KIND_CLIENT = 2;
const STATUS_ERROR = 2;

/** Where the API keeps what the program has registered: there is nothing to report to while it is empty. */
const REGISTERED = Symbol.for('opentelemetry.js.api.1');

/** Whether the program has set an OpenTelemetry provider. */
export function isTraced(): boolean {
  return (globalThis as Record<symbol, unknown>)[REGISTERED] !== undefined;
}

/**
 * A span for every call, as OpenTelemetry's conventions for RPC have it, child of what is active; the server is told by
 * `traceparent`.
 */
export function traced(api: OpenTelemetry): Interceptor {
  const tracer = api.trace.getTracer('@etsd/client');
  return async (call, next) => {
    const parent = api.context.active() as never;
    const attributes = { 'rpc.system': 'grpc', 'rpc.service': call.service, 'rpc.method': call.method };
    const span = tracer.startSpan(`${call.service}/${call.method}`, { kind: KIND_CLIENT, attributes }, parent);
    const carrier: Record<string, string> = {};
    api.propagation.inject(api.trace.setSpan(parent, span as never) as never, carrier as never);
    for (const [name, value] of Object.entries(carrier)) call.headers.set(name.toLowerCase(), value);
    try {
      const response = await next();
      span.setAttribute('rpc.grpc.status_code', 0);
      return response;
    } catch (thrown) {
      const error = clientError(thrown);
      span.setAttribute('rpc.grpc.status_code', error.code);
      if (!(error instanceof CanceledError)) {
        span.setStatus({ code: STATUS_ERROR, message: error.message });
        span.recordException(error);
      }
      throw thrown;
    } finally {
      span.setAttribute('server.address', call.endpoint);
      span.setAttribute('etcd.attempts', call.attempts);
      span.end();
    }
  };
}
