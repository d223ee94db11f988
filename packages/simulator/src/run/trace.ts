import { crc32c } from '@etsd/base';

/**
 * What happened in a run, a line each: moment, who, what. The digest covers every line, also of those that are not kept,
 * so that two runs can be compared without keeping either.
 */
export class Trace {
  readonly lines: string[] = [];
  digest = 0;
  count = 0;
  private readonly keepsAll: boolean;
  private readonly nowMs: () => number;

  constructor(nowMs: () => number, keepsAll: boolean) {
    this.nowMs = nowMs;
    this.keepsAll = keepsAll;
  }

  /** `isDetail`: only kept where everything is. */
  note(who: string, what: string, isDetail = false): void {
    const line = `${this.nowMs().toFixed(3).padStart(12)}  ${who.padEnd(4)} ${what}`;
    this.count++;
    const bytes = Buffer.from(line, 'latin1');
    this.digest = crc32c(bytes, 0, bytes.length, this.digest);
    if (this.keepsAll || !isDetail) this.lines.push(line);
  }
}
