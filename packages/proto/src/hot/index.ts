export { HeaderTemplate, innerHeaderSize, writeInnerHeader } from './header.ts';
export {
  encodeKeyValue,
  KeyValueView,
  keyValueSize,
  keyValueWithoutValueSize,
  writeKeyValue,
  writeKeyValueWithoutValue,
} from './key-value.ts';
export { entrySize, walRecordSize, writeEntry, writeWalRecord, writeWalRecordHead } from './log.ts';
export { RaftRequestField, RaftRequestView, writeRaftRequest } from './raft-request.ts';
export { DeleteRangeRequestView, PutRequestView, RangeRequestView } from './requests.ts';
export {
  deleteRangeBodySize,
  keepAliveResponseSize,
  putResponseSize,
  rangeBodySize,
  singleRangeResponseSize,
  writeDeleteRangeBody,
  writeKeepAliveResponse,
  writePutResponse,
  writeRangeBody,
  writeSingleRangeResponse,
} from './responses.ts';
export { eventFieldSize, watchHeadSize, writeEventField, writeWatchHead } from './watch.ts';
