import type { BackendPort } from './ports.ts';

/** How a kind of record is written; the generated classes of messages are such. */
export interface RecordCodec<T> {
  decode(bytes: Buffer): T;
  encode(message: T): Buffer;
}

/**
 * The users or the roles: a bucket of records by name, all of them in memory too. Names are ordered by their bytes, as
 * the bucket is.
 */
export class AuthRecords<T> {
  private readonly backend: BackendPort;
  private readonly bucket: string;
  private readonly codec: RecordCodec<T>;
  private readonly byName = new Map<string, T>();

  constructor(backend: BackendPort, bucket: string, codec: RecordCodec<T>) {
    this.backend = backend;
    this.bucket = bucket;
    this.codec = codec;
    this.reload();
  }

  /** Reads what the backend says now. */
  reload(): void {
    this.byName.clear();
    this.backend.scan(this.bucket, null, null, (key, value) => {
      this.byName.set(key.toString('utf8'), this.codec.decode(Buffer.from(value)));
      return true;
    });
  }

  get(name: string): T | undefined {
    return this.byName.get(name);
  }

  /** Writes the record, and keeps it: it must not be changed afterwards but through `put`. */
  put(name: string, record: T): void {
    this.byName.set(name, record);
    this.backend.put(this.bucket, Buffer.from(name, 'utf8'), this.codec.encode(record));
  }

  delete(name: string): void {
    this.byName.delete(name);
    this.backend.delete(this.bucket, Buffer.from(name, 'utf8'));
  }

  names(): string[] {
    return [...this.byName.keys()].sort(compareNames);
  }
}

/** By bytes, which is not the order of JavaScript's strings beyond the basic plane. */
export function compareNames(a: string, b: string): number {
  return Buffer.from(a, 'utf8').compare(Buffer.from(b, 'utf8'));
}
