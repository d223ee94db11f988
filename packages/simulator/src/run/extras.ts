import { Prng } from '@etsd/base';

/**
 * What a run may have beside everything else. It is drawn from chance of its own, so that a seed from before there was any
 * of it still draws what it drew, and most runs have none of it.
 */
export interface Extras {
  /** Clients that take locks and lead elections by the services of the members; 0 is none, as below. */
  readonly holders: number;
  /** The same by the recipes of the client library. */
  readonly recipeHolders: number;
  /** Clients that look at who leads. */
  readonly observers: number;
  /** Locks, and elections, that they contend for: so many of each. */
  readonly queues: number;
  /** Mean time between two disks that begin to rot. */
  readonly rotMs: number;
  /** Mean time between two steps of an operator who takes the cluster to another release and back. */
  readonly upgradeMs: number;
}

export const NO_EXTRAS: Extras = { holders: 0, recipeHolders: 0, observers: 0, queues: 1, rotMs: 0, upgradeMs: 0 };

/** Chance that has nothing to do with any that a run of this seed draws from elsewhere. */
export function extraChance(seed: number, purpose: number): Prng {
  return new Prng(new Prng(seed ^ 0x5eed_0b57).u32() ^ purpose);
}

export function drawExtras(seed: number): Extras {
  return {
    ...NO_EXTRAS,
    ...drawQueues(extraChance(seed, 1), extraChance(seed, 7)),
    ...drawRot(extraChance(seed, 3)),
    ...drawUpgrades(extraChance(seed, 5)),
  };
}

function drawQueues(prng: Prng, observing: Prng): Partial<Extras> {
  if (!prng.chance(0.35)) return {};
  return {
    holders: prng.pick([0, 2, 3]),
    recipeHolders: prng.pick([0, 2, 3]),
    observers: observing.pick([0, 1, 2]),
    queues: prng.pick([1, 1, 2]),
  };
}

function drawRot(prng: Prng): Partial<Extras> {
  return prng.chance(0.25) ? { rotMs: prng.pick([2000, 5000, 10_000]) } : {};
}

function drawUpgrades(prng: Prng): Partial<Extras> {
  return prng.chance(0.25) ? { upgradeMs: prng.pick([300, 1000, 3000]) } : {};
}
