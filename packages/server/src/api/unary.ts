import type { EtcdError } from '@etsd/proto';
import type { ApiCall, ApiHandler, MemberContext } from '../context.ts';
import type { Caller } from '../tokens.ts';
import { failCall, failUnreadable, operatorRefusal, refusal } from './guards.ts';

/** The way back to whoever called: outlives the call, and is silent once the call is gone. */
export class Reply {
  /** Called where the call ends before it is answered: the client has given up, or its time is over. */
  onHangUp: (() => void) | null = null;
  /** Who called, or why that could not be told. */
  readonly caller: Caller | EtcdError;
  /** The call itself, for what it said of itself: it may be over. */
  readonly origin: ApiCall;
  private call: ApiCall | null;

  constructor(call: ApiCall, caller: Caller | EtcdError) {
    this.call = call;
    this.origin = call;
    this.caller = caller;
  }

  get isOpen(): boolean {
    return this.call !== null;
  }

  answer(message: Buffer): void {
    const call = this.take();
    if (call === null) return;
    call.send(message);
    call.end();
  }

  fail(error: EtcdError): void {
    const call = this.take();
    if (call !== null) failCall(call, error);
  }

  /** The call ended. */
  close(): void {
    if (this.take() !== null) this.onHangUp?.();
  }

  private take(): ApiCall | null {
    const call = this.call;
    this.call = null;
    return call;
  }
}

export interface UnaryMethod<Request> {
  readonly path: string;
  readonly decode: (bytes: Buffer, start: number, end: number) => Request;
  readonly run: (request: Request, reply: Reply) => void;
  /** Whether a member that only learns answers too. */
  readonly learnerServes?: boolean;
  /** It neither reads nor writes keys: a member in quarantine answers too. */
  readonly isForOperators?: boolean;
}

/** Registers a method that is called rarely enough to spend an object and a closure on. */
export function registerUnary<Request>(context: MemberContext, method: UnaryMethod<Request>): void {
  const refusalOf = method.isForOperators === true ? operatorRefusal : refusal;
  const handler: ApiHandler = {
    kind: 'unary',
    message(call, bytes, start, end) {
      const refused = refusalOf(context, call, method.learnerServes === true);
      if (refused !== null) {
        failCall(call, refused);
        return;
      }
      let request: Request;
      try {
        // A copy, since the request may be read after this turn.
        request = method.decode(Buffer.from(bytes.subarray(start, end)), 0, end - start);
      } catch (error) {
        failUnreadable(call, error);
        return;
      }
      const reply = new Reply(call, context.access.callerOf(call));
      call.context = reply;
      method.run(request, reply);
    },
    closed(call) {
      if (call.context instanceof Reply) call.context.close();
    },
  };
  context.rpc.handle(method.path, handler);
}
