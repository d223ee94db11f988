import {
  closeSync,
  createReadStream,
  createWriteStream,
  fstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { OperatorError } from '@etsd/base';
import type { LogRotation } from '@etsd/server';

const DAY_MS = 24 * 60 * 60_000;
const COMPRESSED = '.gz';

/** A file of log lines that anybody may read later; null choices let it grow. */
export class LogFile {
  private readonly path: string;
  private readonly rotation: LogRotation | null;
  private readonly nowMs: () => number;
  private file: number;
  private bytes: number;
  /** Files put aside that are still being compressed. */
  private work: Promise<void> = Promise.resolve();

  constructor(path: string, rotation: LogRotation | null, nowMs: () => number = Date.now) {
    this.path = path;
    this.rotation = rotation;
    this.nowMs = nowMs;
    this.file = openFile(path);
    this.bytes = fstatSync(this.file).size;
  }

  /** Puts the file aside first where the line would make it too long. Throws where it cannot be written. */
  write(line: string): void {
    const length = Buffer.byteLength(line);
    const { rotation } = this;
    if (rotation !== null && this.bytes > 0 && this.bytes + length > rotation.bytesMax) this.rotate(rotation);
    writeSync(this.file, line);
    this.bytes += length;
  }

  close(): void {
    closeSync(this.file);
  }

  /** Resolves when old files are as they shall be. */
  settled(): Promise<void> {
    return this.work;
  }

  private rotate(rotation: LogRotation): void {
    const aside = this.freeName(rotation);
    renameSync(this.path, aside);
    const next = openFile(this.path);
    closeSync(this.file);
    this.file = next;
    this.bytes = 0;
    this.work = this.work
      .then(() => (rotation.compress ? compress(aside) : undefined))
      .then(() => this.prune(rotation))
      // The next one tries again.
      .catch(() => {});
  }

  /** `etsd-2026-11-21T23-36-37.004.log` beside `etsd.log`, as etcd names them; two of one millisecond do not meet. */
  private freeName(rotation: LogRotation): string {
    const { dir, stem, ending } = this.parts();
    const taken = new Set(readdirSync(dir));
    for (let ms = this.nowMs(); ; ms++) {
      const name = `${stem}${timeText(ms, rotation.localTime)}${ending}`;
      if (!taken.has(name) && !taken.has(name + COMPRESSED)) return join(dir, name);
    }
  }

  private parts(): { dir: string; stem: string; ending: string } {
    const ending = extname(this.path);
    return { dir: dirname(this.path), stem: `${basename(this.path, ending)}-`, ending };
  }

  private prune({ backupsMax, daysMax, localTime }: LogRotation): void {
    const { dir, stem, ending } = this.parts();
    const oldest = daysMax === 0 ? '' : `${stem}${timeText(this.nowMs() - daysMax * DAY_MS, localTime)}`;
    const old = readdirSync(dir)
      .filter((name) => name.startsWith(stem) && ASIDE.test(name.slice(stem.length).replace(/\.gz$/, '')))
      .filter((name) => name.replace(/\.gz$/, '').endsWith(ending))
      .sort()
      .reverse();
    for (const [at, name] of old.entries()) {
      if ((backupsMax > 0 && at >= backupsMax) || name < oldest) rmSync(join(dir, name), { force: true });
    }
  }
}

const ASIDE = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}/;

function timeText(ms: number, isLocal: boolean): string {
  const shift = isLocal ? new Date(ms).getTimezoneOffset() * 60_000 : 0;
  return new Date(ms - shift).toISOString().slice(0, 23).replaceAll(':', '-');
}

async function compress(path: string): Promise<void> {
  await pipeline(createReadStream(path), createGzip(), createWriteStream(`${path}${COMPRESSED}`, { mode: 0o600 }));
  rmSync(path);
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
