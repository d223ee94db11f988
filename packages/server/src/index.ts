export type {
  ApiCall,
  ApiConfig,
  ApiHandler,
  ApiReplication,
  ApiServer,
  ApiWaiter,
  ApiWorld,
  TimerHandle,
} from './context.ts';
export { DEFAULT_QUOTA_BYTES, type LimitOptions, type Limits, makeLimits, REQUEST_OVERHEAD_BYTES } from './limits.ts';
