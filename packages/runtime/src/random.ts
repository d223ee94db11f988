/**
 * Chance. The real one is fit for secrets (tokens, ids that must not be guessed); the simulated one is drawn from the
 * seed.
 */
export interface Random {
  /** 32 random bits, unsigned. */
  u32(): number;
  /** A number in [0, 1). */
  float(): number;
  /** `length` random bytes, in a buffer of their own. */
  bytes(length: number): Buffer;
}
