import { gunzipSync, gzipSync } from 'node:zlib';
import { hasCode } from '@etsd/runtime';

/**
 * Undoes gzip, giving up as soon as more than `limit` bytes come out, so that a small message cannot blow up (a
 * compression bomb costs its limit, not its content).
 */
export function gunzip(bytes: Buffer, limit: number): Buffer | 'too large' | 'corrupt' {
  try {
    return gunzipSync(bytes, { maxOutputLength: limit });
  } catch (error) {
    return hasCode(error, 'ERR_BUFFER_TOO_LARGE') ? 'too large' : 'corrupt';
  }
}

/** gzip at the fastest level: the messages are small and the link is near. */
export function gzip(bytes: Buffer): Buffer {
  return gzipSync(bytes, { level: 1 });
}
