import { FREELIST, PAGE_HEADER, type Page, readU64 } from './page.ts';
import { type BoltBucket, type BoltFile, PageSet } from './reader.ts';

/** What a whole file was found to hold. */
export interface BoltCheck {
  readonly pages: number;
  /** Branches and leaves, with their overflow, and the list of free pages. */
  readonly usedPages: number;
  /** Pages the file itself lists as free; 0 where it keeps no such list. */
  readonly freePages: number;
  readonly buckets: number;
  readonly keys: number;
}

/**
 * Reads everything and throws a `CorruptionError` at the first thing that cannot be: damage, a page that two places
 * claim, a page that is in use and listed as free. `pause` is awaited now and then, so that others get their turn. `visit`
 * is shown every leaf with the bucket it belongs to, those of a bucket in order; what it throws ends the check.
 */
export async function checkBoltFile(
  file: BoltFile,
  pause: () => Promise<void>,
  visit: (bucket: BoltBucket, leaf: Page) => void = () => {},
): Promise<BoltCheck> {
  const seen = new PageSet(file.meta.pageCount);
  const waiting: BoltBucket[] = [file.root];
  let buckets = 0;
  let keys = 0;
  let leaves = 0;
  for (let bucket = waiting.pop(); bucket !== undefined; bucket = waiting.pop()) {
    const cursor = file.leaves(bucket, seen);
    for (;;) {
      let leaf = cursor.nextRead();
      if (leaf === undefined) leaf = await cursor.next();
      if (leaf === null) break;
      visit(bucket, leaf);
      for (let index = 0; index < leaf.count; index++) {
        if (leaf.isBucket(index)) {
          buckets++;
          waiting.push(file.bucketIn(leaf, index, bucket.depth + 1));
        } else {
          keys++;
        }
      }
      if (++leaves % LEAVES_AT_ONCE === 0) await pause();
    }
  }
  const freePages = await checkFreelist(file, seen);
  return { pages: file.meta.pageCount, usedPages: seen.count - freePages, freePages, buckets, keys };
}

const LEAVES_AT_ONCE = 8;
/** A count of this says that the first number of the list is the count. */
const COUNT_IN_LIST = 0xffff;

async function checkFreelist(file: BoltFile, used: PageSet): Promise<number> {
  const page = file.meta.freelistPage;
  if (page < 0) return 0;
  const { pages } = file;
  const bytes = await pages.read(page);
  if (bytes.readUInt16LE(8) !== FREELIST || !used.add(page)) {
    throw pages.damaged(page, 'no list of free pages');
  }
  const short = bytes.readUInt16LE(10);
  const count = short === COUNT_IN_LIST ? readU64(bytes, PAGE_HEADER) : short;
  const start = PAGE_HEADER + (short === COUNT_IN_LIST ? 8 : 0);
  if (count < 0 || start + count * 8 > bytes.length) throw pages.damaged(page, `${count} free pages do not fit`);
  for (let index = 0; index < count; index++) {
    const free = readU64(bytes, start + index * 8);
    if (free < 2 || free >= file.meta.pageCount) throw pages.damaged(page, `page ${free}, listed as free, is none`);
    if (!used.add(free)) throw pages.damaged(page, `page ${free} is listed as free and is in use`);
  }
  return count;
}
