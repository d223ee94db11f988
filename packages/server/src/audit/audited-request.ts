import { RaftRequestField, RaftRequestView } from '@etsd/proto';
import type { Identity } from '../access.ts';
import type { LineHeads, LineOfRequest } from './line-writer.ts';
import type { Describe } from './request-fields.ts';

/** The method whose requests are told. */
export interface ToldMethod {
  /** Parts of lines that are the same for all requests of a client. */
  readonly heads: LineHeads;
  readonly describe: Describe;
}

/** A request that is being served, or the last one of a stream. */
export class AuditedRequest implements LineOfRequest {
  readonly method: ToldMethod;
  readonly identity: Identity;
  readonly sinceMs: number;
  fields = '';
  peer = '';
  commonName = '';
  endMs = 0;
  code = 0;
  revision = 0;
  /** Of a stream that refused what it was asked and goes on; -1 where it did not. */
  refusedCode = -1;

  constructor(method: ToldMethod, identity: Identity, sinceMs: number) {
    this.method = method;
    this.identity = identity;
    this.sinceMs = sinceMs;
  }

  /** What is shown of the request's bytes. */
  describe(bytes: Buffer, start: number, end: number): void {
    this.fields = this.method.describe(bytes, start, end);
  }

  /** The same of what stands in the log, which is a put. */
  describeEntry(entry: Buffer): void {
    if (entryView.findBody(entry, RaftRequestField.Put)) this.describe(entry, entryView.bodyStart, entryView.bodyEnd);
  }
}

const entryView = new RaftRequestView();
