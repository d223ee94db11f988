export { AddressCounter, hostOf } from './address-counter.ts';
export { type ChannelOptions, ChannelState, GrpcChannel, type StartOptions, type UnaryOptions } from './client.ts';
export type { CallReceiver, ClientCall } from './client-call.ts';
export { binaryValues, Metadata } from './grpc/metadata.ts';
export { RpcError, StatusCode } from './grpc/status.ts';
export type { Field } from './hpack/table.ts';
export { HttpExchange, type HttpHandler, type HttpReceiver } from './http-exchange.ts';
export { ErrorCode } from './http2/errors.ts';
export { DEFAULT_LIMITS, type RpcLimits } from './limits.ts';
export {
  CALL_SECONDS,
  type CallersByHeader,
  type CallTimes,
  MethodFigures,
  TIMED_EVERY,
} from './method-figures.ts';
export type { WriteTarget } from './outbox.ts';
export { RpcServer, type RpcServerOptions } from './server.ts';
export { type CallNotes, type MethodHandler, type NotedCall, ServerCall } from './server-call.ts';
export type { RpcWorld } from './world.ts';
