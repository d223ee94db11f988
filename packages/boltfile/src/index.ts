export { type BoltCheck, checkBoltFile } from './check.ts';
export { PAGE_SIZE } from './limits.ts';
export type { Page } from './page.ts';
export { BoltBucket, BoltFile, type BoltOptions, LeafCursor, PageSet } from './reader.ts';
export { BoltWriter, type BoltWriterOptions } from './writer.ts';
