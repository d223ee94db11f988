import type { U64 } from '@etsd/base';

/** The outcome of a vote so far. */
export const VOTE_PENDING = 0;
export const VOTE_LOST = 1;
export const VOTE_WON = 2;
export type VoteResult = typeof VOTE_PENDING | typeof VOTE_LOST | typeof VOTE_WON;

/** The highest index a group without members agrees to: any. It lets an empty half of a joint configuration not count. */
export const ANY_INDEX = Number.MAX_SAFE_INTEGER;

/** How many of `size` members make a majority. */
export function majority(size: number): number {
  return (size >> 1) + 1;
}

const scratch: number[] = [];

/**
 * The highest index that a majority of `members` has reached; `indexOf` gives each one's. The (size − majority)-th
 * smallest of the sorted indexes: that one and all above it are a majority.
 */
export function majorityIndex(members: readonly U64[], indexOf: (member: U64) => number): number {
  const size = members.length;
  if (size === 0) return ANY_INDEX;
  if (size === 1) return indexOf(members[0] as U64);
  scratch.length = size;
  // Insertion sort: a configuration has three to seven members, and nothing is allocated.
  for (let place = 0; place < size; place++) {
    const index = indexOf(members[place] as U64);
    let at = place;
    while (at > 0 && (scratch[at - 1] as number) > index) {
      scratch[at] = scratch[at - 1] as number;
      at--;
    }
    scratch[at] = index;
  }
  return scratch[size - majority(size)] as number;
}

/** The highest index committed in a joint configuration: both halves must agree (Raft thesis §4.3). */
export function jointIndex(
  incoming: readonly U64[],
  outgoing: readonly U64[],
  indexOf: (member: U64) => number,
): number {
  const first = majorityIndex(incoming, indexOf);
  if (outgoing.length === 0) return first;
  const second = majorityIndex(outgoing, indexOf);
  return Math.min(first, second);
}

/** What a vote among `members` says; `votes` holds who granted (true) or refused (false). Nobody to ask: won. */
export function majorityVote(members: readonly U64[], votes: ReadonlyMap<U64, boolean>): VoteResult {
  const size = members.length;
  if (size === 0) return VOTE_WON;
  let granted = 0;
  let missing = 0;
  for (const member of members) {
    const vote = votes.get(member);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const needed = majority(size);
  if (granted >= needed) return VOTE_WON;
  return granted + missing >= needed ? VOTE_PENDING : VOTE_LOST;
}

/** A vote in a joint configuration: lost if either half is lost, won if both are won. */
export function jointVote(
  incoming: readonly U64[],
  outgoing: readonly U64[],
  votes: ReadonlyMap<U64, boolean>,
): VoteResult {
  const first = majorityVote(incoming, votes);
  const second = majorityVote(outgoing, votes);
  if (first === second) return first;
  return first === VOTE_LOST || second === VOTE_LOST ? VOTE_LOST : VOTE_PENDING;
}
