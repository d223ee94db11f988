export { type BoltCheck, checkBoltFile } from './check.ts';
export {
  joinDigests,
  type LeafDigest,
  LeafScan,
  type ReadNow,
  type RecordFilter,
  type ScannedFile,
  type Subtree,
} from './leaf-scan.ts';
export { PAGE_SIZE } from './limits.ts';
export type { Page } from './page.ts';
export { BoltBucket, BoltFile, type BoltOptions, LeafCursor, PageSet } from './reader.ts';
export { type BoltPlace, BoltWriter, type BoltWriterOptions } from './writer.ts';
