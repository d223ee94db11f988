/** Words of a record that the digest takes in, spread evenly over it. */
const SAMPLES = 8;

/**
 * A rolling hash over what transactions did: for each record its revision, its key's first revision and version, its
 * length and some of its bytes. Two stores that applied the same have the same; one that did something else, from another
 * state or in another order, has another. It is made to cost next to nothing for each change, not to withstand anybody:
 * what it leaves out of long values is for `KvHash`.
 */
export class ChangeDigest {
  /** Signed 32 bits. */
  value = 0;
  /** Changes taken in. */
  count = 0;

  clear(): void {
    this.value = 0;
    this.count = 0;
  }

  /** A record at `bytes[offset, offset + size)`; a deletion has no first revision and no version. */
  add(
    main: number,
    sub: number,
    created: number,
    version: number,
    bytes: Uint8Array,
    offset: number,
    size: number,
  ): void {
    let value = mix(this.value, main);
    value = mix(value, sub);
    value = mix(value, created);
    value = mix(value, version);
    value = mix(value, size);
    const step = size > SAMPLES * 4 ? ((size - 4) / (SAMPLES - 1)) | 0 : 4;
    const last = offset + size - 4;
    for (let at = offset; at <= last; at += step) {
      const word =
        (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24);
      value = mix(value, word);
    }
    // The end, where steps do not meet it.
    value = mix(value, size > 0 ? (bytes[offset + size - 1] as number) : 0);
    this.value = value;
    this.count++;
  }

  /** Takes in a number that is the same wherever the same was applied. */
  take(number: number): void {
    this.value = mix(this.value, number);
  }
}

/** Multiplication and shift, each word so that every bit of it moves about half of the result's. */
function mix(value: number, word: number): number {
  const next = Math.imul(value ^ word, 0x9e3779b1);
  return (next ^ (next >>> 15) ^ Math.imul(word, 0x85ebca6b)) | 0;
}
