import { ConfState } from '@etsd/proto';
import { Membership } from './raft.ts';

/** The configuration as it is stored and sent. */
export function confStateOf(membership: Membership): ConfState {
  const state = new ConfState();
  state.voters = [...membership.voters];
  state.votersOutgoing = [...membership.outgoing];
  state.learners = [...membership.learners];
  state.learnersNext = [...membership.learnersNext];
  state.autoLeave = membership.autoLeave;
  return state;
}

export function membershipOf(state: ConfState): Membership {
  const membership = new Membership();
  membership.voters = [...state.voters].sort();
  membership.outgoing = [...state.votersOutgoing].sort();
  membership.learners = [...state.learners].sort();
  membership.learnersNext = [...state.learnersNext].sort();
  membership.autoLeave = state.autoLeave;
  return membership;
}
