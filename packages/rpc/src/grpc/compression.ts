import { gunzipSync, gzipSync } from 'node:zlib';
import { hasCode } from '@etsd/runtime';

const GZIP_MAGIC = 0x1f8b;
const GZIP_HEADER_BYTES = 10;

/**
 * Undoes gzip, giving up as soon as more than `limit` bytes come out, so that a small message cannot blow up (a
 * compression bomb costs its limit, not its content). A string says why it failed.
 */
export function gunzip(bytes: Buffer, limit: number): Buffer | string {
  try {
    return gunzipSync(bytes, { maxOutputLength: limit });
  } catch (error) {
    if (hasCode(error, 'ERR_BUFFER_TOO_LARGE')) return 'too large';
    if (bytes.length < GZIP_HEADER_BYTES || hasCode(error, 'Z_BUF_ERROR')) return 'unexpected EOF';
    return bytes.readUInt16BE(0) !== GZIP_MAGIC ? 'gzip: invalid header' : 'flate: corrupt input';
  }
}

/** gzip at the fastest level: the messages are small and the link is near. */
export function gzip(bytes: Buffer): Buffer {
  return gzipSync(bytes, { level: 1 });
}
