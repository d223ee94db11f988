export { EventSelection } from './event.ts';
export {
  type PublishedChanges,
  SLICE_COST,
  WatchHub,
  type WatchHubOptions,
  type WatchSource,
} from './watch-hub.ts';
export { Watcher, type WatchRequest, type WatchSink, WatchStream } from './watch-stream.ts';
