import { crc32c } from '@etsd/base';

/**
 * What happened in a run, a line each: moment, who, what. The digest covers them all, so that two runs can be compared
 * without keeping either.
 */
export class Trace {
  readonly lines: string[] = [];
  digest = 0;
  count = 0;
  readonly keepsAll: boolean;
  private readonly nowMs: () => number;

  constructor(nowMs: () => number, keepsAll: boolean) {
    this.nowMs = nowMs;
    this.keepsAll = keepsAll;
  }

  /** What only matters where every line is kept; see `keepsAll` before making it. */
  detail(who: string, what: string): void {
    if (this.keepsAll) this.note(who, what);
  }

  note(who: string, what: string): void {
    const line = `${this.nowMs().toFixed(3).padStart(12)}  ${who.padEnd(4)} ${what}`;
    this.count++;
    const bytes = Buffer.from(line, 'latin1');
    this.digest = crc32c(bytes, 0, bytes.length, this.digest);
    this.lines.push(line);
  }
}
