/** The audit log as a file that is put aside when it is large or old enough: `audit.log` → `audit.log.20261121T170304Z`. */
import { errorFrom } from '@etsd/base';
import type { Disk, DiskFile } from '@etsd/runtime';
import { parentPath } from '@etsd/runtime';
import type { AuditSink } from './audit-buffer.ts';

export interface RotationChoice {
  /** Bytes after which the file is put aside. */
  readonly sizeBytes: number;
  /** The same in milliseconds since it was made, or found at the start; 0: never. */
  readonly ageMs: number;
  /** Files that were put aside and are kept; 0: all. */
  readonly keep: number;
}

export interface FileSinkParts {
  readonly disk: Disk;
  readonly clock: { wallMs(): number };
  readonly path: string;
  readonly rotation: RotationChoice;
}

export class FileSink implements AuditSink {
  private readonly parts: FileSinkParts;
  private file: DiskFile | null = null;
  private position = 0;
  private beganMs = 0;
  private lastStamp = '';

  private constructor(parts: FileSinkParts) {
    this.parts = parts;
  }

  /** Opens the file, behind what is in it already. */
  static async open(parts: FileSinkParts): Promise<FileSink> {
    const sink = new FileSink(parts);
    await sink.reopen();
    return sink;
  }

  write(bytes: Buffer, length: number, done: (error: Error | null) => void): void {
    this.ready(length).then(
      (file) => {
        if (length === 0) {
          done(null);
          return;
        }
        file.write(bytes, 0, length, this.position, (error) => {
          // What was begun is written over by the next attempt.
          if (error === null) this.position += length;
          done(error);
        });
      },
      (error: unknown) => done(errorFrom(error)),
    );
  }

  async close(): Promise<void> {
    const file = this.file;
    this.file = null;
    await file?.close();
  }

  private async ready(length: number): Promise<DiskFile> {
    const { clock, rotation } = this.parts;
    const isOld = rotation.ageMs > 0 && clock.wallMs() - this.beganMs >= rotation.ageMs;
    if (this.position > 0 && (this.position + length > rotation.sizeBytes || isOld)) await this.putAside();
    if (this.file === null) await this.reopen();
    return this.file as DiskFile;
  }

  private async reopen(): Promise<void> {
    const { disk, clock, path } = this.parts;
    const stat = await disk.stat(path);
    this.file = await disk.open(path, stat === null ? 'create' : 'write');
    this.position = stat?.size ?? 0;
    this.beganMs = clock.wallMs();
  }

  private async putAside(): Promise<void> {
    const { disk, path, rotation } = this.parts;
    await this.close();
    await disk.rename(path, await this.freeName());
    this.position = 0;
    await this.reopen();
    if (rotation.keep === 0) return;
    const directory = parentPath(path);
    const prefix = `${path.slice(path.lastIndexOf('/') + 1)}.`;
    const old = (await disk.list(directory)).filter((name) => name.startsWith(prefix) && STAMP.test(name));
    for (const name of old.slice(0, Math.max(0, old.length - rotation.keep))) await disk.remove(`${directory}/${name}`);
  }

  /** Names in the order of time, also of two in a millisecond; never one that is taken. */
  private async freeName(): Promise<string> {
    const { disk, clock, path } = this.parts;
    let stamp = new Date(clock.wallMs()).toISOString().replace(/[-:]/g, '');
    if (stamp <= this.lastStamp) stamp = `${this.lastStamp}+`;
    while ((await disk.stat(`${path}.${stamp}`)) !== null) stamp += '+';
    this.lastStamp = stamp;
    return `${path}.${stamp}`;
  }
}

const STAMP = /\.\d{8}T\d{6}\.\d{3}Z\+*$/;
