import type { U64 } from '@etsd/base';
import { ResponseHeader } from '../gen/index.ts';
import { varintSize, writeVarint } from '../wire.ts';

/**
 * The header field of a response, as it stands embedded at the front: tag 1, length, content. Cluster and member never
 * change while a member runs, so their bytes are made once. Two small numbers vary; the content stays below 128 bytes,
 * hence its length below two.
 */
export class HeaderTemplate {
  private readonly fixed: Buffer;

  constructor(clusterId: U64, memberId: U64) {
    this.fixed = ResponseHeader.encode(ResponseHeader.create({ clusterId, memberId }));
  }

  /** Bytes of the field. A revision of zero is left out, as etcd does where a response has none. */
  size(revision: number, term: number): number {
    return 2 + this.fixed.length + numbersSize(revision, term);
  }

  write(target: Buffer, offset: number, revision: number, term: number): number {
    const fixed = this.fixed;
    const length = fixed.length;
    target[offset] = 0x0a;
    target[offset + 1] = length + numbersSize(revision, term);
    let at = offset + 2;
    for (let index = 0; index < length; index++) target[at++] = fixed[index] as number;
    return writeNumbers(target, at, revision, term);
  }
}

function numbersSize(revision: number, term: number): number {
  return (revision === 0 ? 0 : 1 + varintSize(revision)) + (term === 0 ? 0 : 1 + varintSize(term));
}

function writeNumbers(target: Buffer, offset: number, revision: number, term: number): number {
  let at = offset;
  if (revision !== 0) {
    target[at++] = 0x18;
    at = writeVarint(target, at, revision);
  }
  if (term !== 0) {
    target[at++] = 0x20;
    at = writeVarint(target, at, term);
  }
  return at;
}

/** Bytes of the header field of a response inside a transaction, which names the revision only. */
export function innerHeaderSize(revision: number): number {
  return 2 + numbersSize(revision, 0);
}

export function writeInnerHeader(target: Buffer, offset: number, revision: number): number {
  target[offset] = 0x0a;
  target[offset + 1] = numbersSize(revision, 0);
  return writeNumbers(target, offset + 2, revision, 0);
}
