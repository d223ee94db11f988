export { RpcError, StatusCode } from './grpc/status.ts';
export { DEFAULT_LIMITS, type RpcLimits } from './limits.ts';
export { RpcServer, type RpcServerOptions, type RpcWorld } from './server.ts';
export { type MethodHandler, ServerCall } from './server-call.ts';
