/** `grpc.health.v1.Health`: the member as a whole (the empty service name) serves; other names are not known. */
import { EtcdError, GrpcCode, HealthCheckRequest, HealthCheckResponse, ServingStatus } from '@etsd/proto';
import type { ApiCall, ApiHandler, MemberContext } from '../context.ts';
import { failCall, failUnreadable, refusal } from './guards.ts';
import { registerUnary } from './unary.ts';

const ErrUnknownService = new EtcdError(GrpcCode.NotFound, 'unknown service');
const ErrTooManyWatchers = new EtcdError(GrpcCode.ResourceExhausted, 'too many health watchers');

/** Whether the member serves, told to everybody who watches. */
export class Health {
  private readonly watchers = new Set<ApiCall>();
  private readonly watchersMax: number;
  private serving = true;

  constructor(watchersMax: number) {
    this.watchersMax = watchersMax;
  }

  get isServing(): boolean {
    return this.serving;
  }

  set(serving: boolean): void {
    if (serving === this.serving) return;
    this.serving = serving;
    const message = this.message();
    for (const call of this.watchers) call.send(message);
  }

  /** Begins a watch: the state now, and each change. */
  watch(call: ApiCall): void {
    if (this.watchers.size >= this.watchersMax) {
      failCall(call, ErrTooManyWatchers);
      return;
    }
    this.watchers.add(call);
    call.send(this.message());
  }

  forget(call: ApiCall): void {
    this.watchers.delete(call);
  }

  message(): Buffer {
    return encodeStatus(this.serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
  }
}

function encodeStatus(status: number): Buffer {
  return HealthCheckResponse.encode(HealthCheckResponse.create({ status }));
}

class WatchHandler implements ApiHandler {
  readonly kind = 'unary';
  private readonly health: Health;
  private readonly refusal: (call: ApiCall) => EtcdError | null;

  constructor(health: Health, refusal: (call: ApiCall) => EtcdError | null) {
    this.health = health;
    this.refusal = refusal;
  }

  message(call: ApiCall, bytes: Buffer, start: number, end: number): void {
    const refused = this.refusal(call);
    if (refused !== null) {
      failCall(call, refused);
      return;
    }
    let service: string;
    try {
      service = HealthCheckRequest.decode(bytes, start, end).service;
    } catch (error) {
      failUnreadable(call, error);
      return;
    }
    // A watch on a name that may yet be registered stays open, as gRPC's protocol for health asks.
    if (service === '') this.health.watch(call);
    else call.send(encodeStatus(ServingStatus.SERVICE_UNKNOWN));
  }

  closed(call: ApiCall): void {
    this.health.forget(call);
  }
}

export function registerHealth(context: MemberContext): Health {
  const health = new Health(context.limits.maxHealthWatchers);
  registerUnary(context, {
    path: '/grpc.health.v1.Health/Check',
    decode: HealthCheckRequest.decode,
    run(request, reply) {
      if (request.service === '') reply.answer(health.message());
      else reply.fail(ErrUnknownService);
    },
  });
  context.rpc.handle('/grpc.health.v1.Health/Watch', new WatchHandler(health, (call) => refusal(context, call, false)));
  return health;
}
