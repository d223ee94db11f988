export { contentEnd, openContent } from './content.ts';
export { SEGMENT_BYTES, SEGMENTS_MAX } from './limits.ts';
export { type LogEnd, type RecordVisitor, readSegments } from './reader.ts';
export { BatchBuffer, RecordEncoder, RecordType } from './record.ts';
export type { Repair } from './repair.ts';
export { type LogPosition, newestSnapshot, type ReplayedLog, readLog, validSnapshots } from './replay.ts';
export { rewriteSegment } from './rewrite.ts';
export { listSegments, type SegmentName, segmentName } from './segment.ts';
export {
  decodeSnapshotFile,
  encodeSnapshotFile,
  type LoadedSnapshot,
  listSnapshots,
  loadNewestSnapshot,
  purgeSnapshots,
  type SnapshotName,
  snapshotName,
  writeSnapshotFile,
} from './snapshot-file.ts';
export { type EntryRange, type LogDamage, type LogSurvey, surveyLog } from './survey.ts';
export { type OpenedWal, Wal, type WalObserver, type WalOptions } from './wal.ts';
