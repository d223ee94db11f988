/** Runs in a thread of its own. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';

const PIECE_BYTES = 1024 * 1024;

/** SHA-256 of the first bytes of a file. */
export function fileDigest(path: string, bytes: number): Uint8Array {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  const file = openSync(path, 'r');
  try {
    for (let at = 0; at < bytes; ) {
      const length = readSync(file, piece, 0, Math.min(PIECE_BYTES, bytes - at), at);
      if (length === 0) throw new Error(`${path} was cut while it was read`);
      hash.update(piece.subarray(0, length));
      at += length;
    }
  } finally {
    closeSync(file);
  }
  return new Uint8Array(hash.digest());
}
