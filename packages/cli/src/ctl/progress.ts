const REDRAW_MS = 100;
const BAR_CELLS = 30;

/** How far long work is: a line that is drawn over on a terminal, nothing in a pipe. */
export class Progress {
  private readonly output: (NodeJS.WritableStream & { isTTY?: boolean }) | null;
  private readonly title: string;
  private shownMs = 0;

  constructor(output: NodeJS.WritableStream & { isTTY?: boolean }, title: string) {
    this.output = output.isTTY === true ? output : null;
    this.title = title;
  }

  show(done: number, total: number): void {
    if (this.output === null || total <= 0) return;
    const now = performance.now();
    if (now - this.shownMs < REDRAW_MS && done < total) return;
    this.shownMs = now;
    const cells = Math.floor((BAR_CELLS * done) / total);
    const bar = '█'.repeat(cells).padEnd(BAR_CELLS, '░');
    this.output.write(`\r${this.title} ${bar} ${Math.floor((100 * done) / total)}%`);
  }

  done(text: string): void {
    this.output?.write(`\r\x1b[K${this.title}: ${text}\n`);
  }
}
