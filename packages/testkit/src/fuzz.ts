/**
 * Fuzzing from seeds. Every run prints nothing while it goes well; a failure names its seed, and `FUZZ_SEED` in the
 * environment runs that one alone. `FUZZ_RUNS` multiplies the number of runs, `FUZZ_FIRST` says at which seed to begin:
 * together they are how `npm run fuzz` goes on for minutes.
 */
import { Prng } from '@etsd/base';

/** Calls `run` with generators of `count` seeds, one after the other. */
export async function forSeeds(count: number, run: (prng: Prng, seed: number) => void | Promise<void>): Promise<void> {
  const only = process.env['FUZZ_SEED'];
  const factor = Number(process.env['FUZZ_RUNS'] ?? '1');
  const first = only !== undefined ? Number(only) : Number(process.env['FUZZ_FIRST'] ?? '1');
  const last = only !== undefined ? first : first + Math.round(count * factor) - 1;
  for (let seed = first; seed <= last; seed++) {
    try {
      await run(new Prng(seed), seed);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`seed ${seed} (FUZZ_SEED=${seed} runs it alone): ${reason}`, { cause: error });
    }
  }
}

type Mutator = (prng: Prng, bytes: Buffer) => Buffer;

function somewhere(prng: Prng, bytes: Buffer): [start: number, end: number] {
  const start = prng.below(bytes.length + 1);
  const length = prng.chance(0.8) ? prng.below(16) : prng.below(bytes.length + 1);
  return [start, Math.min(bytes.length, start + length)];
}

/** Values at which lengths and counts go wrong. */
const EDGES: readonly number[] = [0, 1, 7, 8, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

const MUTATORS: Readonly<Record<string, Mutator>> = {
  flipBit: (prng, bytes) => {
    const copy = Buffer.from(bytes);
    if (copy.length === 0) return copy;
    const at = prng.below(copy.length);
    copy[at] = (copy[at] as number) ^ (1 << prng.below(8));
    return copy;
  },
  setByte: (prng, bytes) => {
    const copy = Buffer.from(bytes);
    if (copy.length > 0) copy[prng.below(copy.length)] = prng.below(256);
    return copy;
  },
  setNumber: (prng, bytes) => {
    const copy = Buffer.from(bytes);
    if (copy.length < 4) return copy;
    const at = prng.below(copy.length - 3);
    if (prng.chance(0.5)) copy.writeUInt32LE(prng.pick(EDGES), at);
    else copy.writeUInt32BE(prng.pick(EDGES), at);
    return copy;
  },
  zeroRange: (prng, bytes) => {
    const copy = Buffer.from(bytes);
    const [start, end] = somewhere(prng, copy);
    copy.fill(0, start, end);
    return copy;
  },
  remove: (prng, bytes) => {
    const [start, end] = somewhere(prng, bytes);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  },
  insert: (prng, bytes) => {
    const [start] = somewhere(prng, bytes);
    return Buffer.concat([bytes.subarray(0, start), prng.bytes(prng.below(16)), bytes.subarray(start)]);
  },
  repeat: (prng, bytes) => {
    const [start, end] = somewhere(prng, bytes);
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
  },
  cut: (prng, bytes) => bytes.subarray(0, prng.below(bytes.length + 1)),
};

const NAMES = Object.keys(MUTATORS);

/** A copy of `bytes` with one to four things wrong. */
export function mutate(prng: Prng, bytes: Buffer): Buffer {
  let mutated = bytes;
  const count = prng.between(1, 4);
  for (let round = 0; round < count; round++) mutated = (MUTATORS[prng.pick(NAMES)] as Mutator)(prng, mutated);
  return Buffer.from(mutated);
}
