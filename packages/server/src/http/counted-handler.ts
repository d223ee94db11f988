import type { CallersByHeader, MethodFigures } from '@etsd/rpc';
import type { ApiHandler, CallFigures } from '../context.ts';
import { PassingHandler } from '../passing-handler.ts';
import { isStream } from '../rpc-metrics.ts';

/** A handler as calls find it that do not come over gRPC: they are counted among the method's all the same. */
export class CountedHandler extends PassingHandler implements CallFigures {
  readonly figures: CallFigures = this;
  private readonly method: MethodFigures;
  private readonly callers: { calls: number };

  constructor(inner: ApiHandler, method: MethodFigures, callers: CallersByHeader) {
    super(inner);
    this.method = method;
    this.callers = callers.of(isStream(method.path) ? 'stream' : 'unary', undefined);
  }

  begin(): void {
    this.method.begin();
    this.callers.calls++;
  }

  messageReceived(bytes: number): void {
    this.method.messageReceived(bytes);
  }

  messageSent(bytes: number): void {
    this.method.messageSent(bytes);
  }

  end(code: number): void {
    this.method.end(code);
  }
}

/** Finds handlers by path, each with its figures. */
export function countedHandlers(
  handlerOf: (path: string) => ApiHandler | undefined,
  { figures, callers }: { readonly figures: ReadonlyMap<string, MethodFigures>; readonly callers: CallersByHeader },
): (path: string) => ApiHandler | undefined {
  const known = new Map<string, CountedHandler>();
  return (path) => {
    const found = known.get(path);
    if (found !== undefined) return found;
    const handler = handlerOf(path);
    const method = figures.get(path);
    if (handler === undefined || method === undefined) return handler;
    const counted = new CountedHandler(handler, method, callers);
    known.set(path, counted);
    return counted;
  };
}
