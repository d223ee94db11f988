import type { Model } from './explore.ts';

/** A member that leads, or believes so: when the lease is due by its count; null while it does not count. */
interface Office {
  readonly dueAt: number | null;
}

/** One lease, two members that may lead one after the other, and one clock that both can trust to count. */
export interface LeaseState {
  readonly time: number;
  readonly term: number;
  /** The leader that a majority follows. */
  readonly leader: Office;
  /** One that was replaced and has not heard of it. */
  readonly former: Office | null;
  /** The end of the lease is in the leader's log and not committed. */
  readonly isPending: boolean;
  readonly isAlive: boolean;
  /** When the last renewal was answered that the client got. */
  readonly renewedAt: number;
  /** When it ended; −1 while it lives. */
  readonly endedAt: number;
}

export interface LeaseModelOptions {
  readonly ttl: number;
  readonly timeMax: number;
  readonly termMax: number;
  readonly bug?: 'counts from the election' | 'renews without asking' | 'revokes without asking';
}

/** The protocol of docs/internals/leases.md: who counts, who may renew, who may end. */
export function leaseModel({ ttl, timeMax, termMax, bug }: LeaseModelOptions): Model<LeaseState> {
  const end = (state: LeaseState): LeaseState => ({
    ...state,
    isPending: false,
    isAlive: false,
    endedAt: state.isAlive ? state.time : state.endedAt,
  });
  const isDue = (state: LeaseState, office: Office): boolean =>
    state.isAlive && office.dueAt !== null && state.time >= office.dueAt;

  function* elections(state: LeaseState): Iterable<readonly [string, LeaseState]> {
    const { time, term, leader, former } = state;
    if (term < termMax && time <= timeMax) {
      // Whether the new leader's log has the pending end depends on who voted.
      const dueAt = bug === 'counts from the election' ? time + ttl : null;
      const elected = { ...state, term: term + 1, leader: { dueAt }, former: leader };
      yield ['another leads', elected];
      if (state.isPending) yield ['another leads, without the pending end', { ...elected, isPending: false }];
    }
    if (former !== null) yield ['the former leader hears of it', { ...state, former: null }];
    // The first entry of the term is committed, hence everything before it, and applied.
    if (leader.dueAt === null) {
      const begun = { ...state, leader: { dueAt: time + ttl } };
      yield ['the term begins', state.isPending ? end(begun) : begun];
    }
  }

  function* duties(state: LeaseState): Iterable<readonly [string, LeaseState]> {
    const { time, leader, former } = state;
    if (isDue(state, leader) && !state.isPending) yield ['the leader ends it', { ...state, isPending: true }];
    if (state.isPending && leader.dueAt !== null) yield ['the end is committed', end(state)];
    // A majority does not confirm a former leader: it may neither renew nor end.
    if (former !== null && bug === 'revokes without asking' && isDue(state, former)) {
      yield ['the former leader has it ended', { ...state, isPending: true }];
    }
    const mayRenew = state.isAlive && time <= timeMax;
    if (mayRenew && leader.dueAt !== null && !isDue(state, leader)) {
      yield ['is renewed', { ...state, leader: { dueAt: time + ttl }, renewedAt: time }];
    }
    if (
      mayRenew &&
      former !== null &&
      former.dueAt !== null &&
      bug === 'renews without asking' &&
      !isDue(state, former)
    ) {
      yield ['is renewed by the former leader', { ...state, former: { dueAt: time + ttl }, renewedAt: time }];
    }
  }

  return {
    initial: {
      time: 0,
      term: 1,
      leader: { dueAt: ttl },
      former: null,
      isPending: false,
      isAlive: true,
      renewedAt: 0,
      endedAt: -1,
    },
    *steps(state) {
      // A term begins some time: not for ever later.
      if (state.time < timeMax + 2 * ttl && (state.time < timeMax || state.leader.dueAt !== null)) {
        yield ['time passes', { ...state, time: state.time + 1 }];
      }
      yield* elections(state);
      yield* duties(state);
    },
    broken: ({ isAlive, endedAt, renewedAt }) =>
      !isAlive && endedAt < renewedAt + ttl ? `ended at ${endedAt}, renewed at ${renewedAt}` : null,
    isGoal: ({ isAlive }) => !isAlive,
  };
}
