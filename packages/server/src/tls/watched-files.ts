import type { Disk } from '@etsd/runtime';

/** A file changed this recently may change again without its time of change showing it. */
const RACY_MS = 2000;

interface Seen {
  readonly bytes: Buffer;
  readonly size: number;
  readonly modifiedMs: number;
  /** When it was read, by the wall clock. */
  readonly readMs: number;
}

/** Tells when one of some small files has other contents than before. */
export class WatchedFiles {
  private readonly disk: Disk;
  private readonly wallMs: () => number;
  private readonly paths: readonly string[];
  private seen = new Map<string, Seen>();

  constructor(disk: Disk, wallMs: () => number, paths: readonly string[]) {
    this.disk = disk;
    this.wallMs = wallMs;
    this.paths = paths;
  }

  /** Looks at all of them; the paths whose contents are not those of the last look. Rejects where one cannot be read. */
  async look(): Promise<string[]> {
    const changed: string[] = [];
    const now = new Map<string, Seen>();
    for (const path of this.paths) {
      const before = this.seen.get(path);
      const after = await this.lookAt(path, before);
      now.set(path, after);
      if (before === undefined || !after.bytes.equals(before.bytes)) changed.push(path);
    }
    this.seen = now;
    return changed;
  }

  /** The contents of the last look. */
  contents(): ReadonlyMap<string, Buffer> {
    return new Map([...this.seen].map(([path, { bytes }]) => [path, bytes]));
  }

  private async lookAt(path: string, before: Seen | undefined): Promise<Seen> {
    const stat = await this.disk.stat(path);
    if (stat !== null && before !== undefined) {
      const isSame = stat.size === before.size && stat.modifiedMs === before.modifiedMs;
      if (isSame && before.readMs - before.modifiedMs > RACY_MS) return before;
    }
    const readMs = this.wallMs();
    const bytes = await this.disk.readFile(path);
    return { bytes, size: stat?.size ?? -1, modifiedMs: stat?.modifiedMs ?? 0, readMs };
  }
}
