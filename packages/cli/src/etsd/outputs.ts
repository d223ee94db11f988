import { closeSync, openSync, writeSync } from 'node:fs';
import { OperatorError } from '@etsd/base';
import type { LogSink } from '@etsd/server';

/** Log lines to the outputs that `--log-outputs` names; `default` is standard error. */
export class LogOutputs implements LogSink {
  private readonly files: number[] = [];

  constructor(outputs: readonly string[]) {
    for (const output of outputs) {
      if (output === 'default' || output === 'stderr' || output === 'systemd/journal') this.files.push(2);
      else if (output === 'stdout') this.files.push(1);
      else this.files.push(openFile(output));
    }
  }

  write(line: string): void {
    for (const file of this.files) writeWhole(file, line);
  }

  wallMs(): number {
    return Date.now();
  }

  close(): void {
    for (const file of this.files) if (file > 2) closeSync(file);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw new OperatorError(`--log-outputs ${path} cannot be opened`, 'Check the path and its permissions.', {
      cause: error,
    });
  }
}

/** A log that nobody reads must not stop the member: a full pipe loses the line, a closed one everything. */
function writeWhole(file: number, line: string): void {
  try {
    writeSync(file, line);
  } catch {
    // Nowhere left to report it.
  }
}
