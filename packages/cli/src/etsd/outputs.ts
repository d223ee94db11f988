import { writeSync } from 'node:fs';
import type { LogRotation, LogSink } from '@etsd/server';
import { LogFile } from './log-file.ts';

/** Log lines to the outputs that `--log-outputs` names; `default` is standard error. */
export class LogOutputs implements LogSink {
  private readonly streams: number[] = [];
  private readonly files: LogFile[] = [];

  constructor(outputs: readonly string[], rotation: LogRotation | null = null) {
    for (const output of outputs) {
      if (output === 'default' || output === 'stderr' || output === 'systemd/journal') this.streams.push(2);
      else if (output === 'stdout') this.streams.push(1);
      else this.files.push(new LogFile(output, rotation));
    }
  }

  /** A log that nobody reads must not stop the member: a full pipe or disk loses the line, a closed one everything. */
  write(line: string): void {
    for (const stream of this.streams) quietly(() => writeSync(stream, line));
    for (const file of this.files) quietly(() => file.write(line));
  }

  wallMs(): number {
    return Date.now();
  }

  close(): void {
    for (const file of this.files) file.close();
  }
}

function quietly(write: () => void): void {
  try {
    write();
  } catch {
    // Nowhere left to report it.
  }
}
