import type { ApiCall, ApiHandler } from './context.ts';

/** A handler around another one that hands on whatever it has nothing to say about. */
export class PassingHandler implements ApiHandler {
  readonly kind: 'unary' | 'stream';
  readonly inner: ApiHandler;

  constructor(inner: ApiHandler) {
    this.kind = inner.kind;
    this.inner = inner;
  }

  opened(call: ApiCall): void {
    this.inner.opened?.(call);
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    this.inner.message(call, bytes, start, end);
  }

  halfClosed(call: ApiCall): void {
    this.inner.halfClosed?.(call);
  }

  drained(call: ApiCall): void {
    this.inner.drained?.(call);
  }

  closed(call: ApiCall): void {
    this.inner.closed?.(call);
  }
}
