export { type BoltCheck, checkBoltFile } from './check.ts';
export { PAGE_SIZE } from './limits.ts';
export type { Page } from './page.ts';
export { BoltBucket, BoltFile, LeafCursor, PageSet } from './reader.ts';
export { BoltWriter, type BoltWriterOptions } from './writer.ts';
