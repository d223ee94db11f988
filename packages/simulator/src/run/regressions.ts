import type { Plan } from './plan.ts';

/** A run that once failed, or that reaches what others do not. */
export interface Regression {
  readonly seed: number;
  readonly seconds: number;
  readonly plan: Partial<Plan>;
  readonly found: string;
}

/** As all clients did before there was a choice. */
const ONE_AT_A_TIME: Partial<Plan> = { atOnce: 1 };

/** Run by every CI. What a seed draws changes with the simulator: each of these is a sample, kept for what it once showed. */
export const REGRESSIONS: readonly Regression[] = [
  {
    seed: 7,
    seconds: 20,
    plan: ONE_AT_A_TIME,
    found: 'full disks while authentication is turned on and off: alarms have to be cleared',
  },
  {
    seed: 97,
    seconds: 20,
    plan: ONE_AT_A_TIME,
    found: 'a lone member loses power again and again; a watch from a revision yet to come',
  },
  {
    seed: 362831787,
    seconds: 20,
    plan: ONE_AT_A_TIME,
    found: 'a member told to stop left a commit index behind the end of its log',
  },
  {
    seed: 77,
    seconds: 20,
    plan: ONE_AT_A_TIME,
    found: 'locks and elections while members go to another release and back',
  },
  {
    seed: 1279,
    seconds: 20,
    plan: ONE_AT_A_TIME,
    found: 'the same with recipes, and disks that rot: a member is refused and replaced',
  },
  {
    seed: 2136997821,
    seconds: 30,
    plan: {},
    found:
      'the operator forgot a member whose addition was refused, and took an I/O error for damage: no quorum was left',
  },
  {
    seed: 105777,
    seconds: 5,
    plan: {},
    found:
      'a compaction at the deletion of the last key gave a hash that members which were yet to get there did not have',
  },
  {
    seed: 200099,
    seconds: 5,
    plan: {},
    found:
      'an addition to a cluster of one happened after its operator had looked: the new member, which the majority needed, was never started',
  },
  {
    seed: 208298,
    seconds: 5,
    plan: {},
    found:
      'leaders were moved in peace as well, faster than leases run out, so that what a removed member had locked was never free',
  },
  {
    seed: 1586840927,
    seconds: 20,
    plan: {},
    found:
      'a segment whose zeros could not be synced became the log: after a power loss it was shorter than it was made, and refused',
  },
  {
    seed: 146474940,
    seconds: 20,
    plan: {},
    found:
      'a member that was removed and added anew asked one whose disk hangs, and which had not heard of it: its operator tries again',
  },
  {
    seed: 739655881,
    seconds: 20,
    plan: {},
    found: 'one disk of two voters was damaged, since a learner that was down was taken for a third',
  },
  {
    seed: 400934,
    seconds: 20,
    plan: {},
    found: 'the only recorder was at a member that left in peace: nobody had seen the last writes',
  },
  {
    seed: 410177,
    seconds: 20,
    plan: {},
    found: 'a learner, which answers no such question, was asked for its hash until time ran out',
  },
  {
    seed: 430154,
    seconds: 20,
    plan: {},
    found:
      'a member that stopped while it installed a snapshot wrote to its closed log when the state was in its place',
  },
  {
    seed: 440019,
    seconds: 20,
    plan: {},
    found:
      'a watch at a learner was not waited for, and judged as if it had been when the learner was promoted meanwhile',
  },
  {
    seed: 450006,
    seconds: 20,
    plan: {},
    found: 'an operator took the member that was removed for the one that was to be added, and started that for ever',
  },
  {
    seed: 461785,
    seconds: 20,
    plan: {},
    found: 'the only recorder stayed at a member that was replaced by a learner, which answers no watch',
  },
  {
    seed: 461400,
    seconds: 20,
    plan: {},
    found: 'a clock that stood still beyond the torment brought a new leader, which counts leases anew',
  },
  {
    seed: 524019,
    seconds: 5,
    plan: {},
    found: 'a watch that went on at a new process was not waited for, since the one before it had got to the end',
  },
  {
    seed: 532617,
    seconds: 5,
    plan: {},
    found: 'the clock of a member that was alone stood still beyond the torment, and leases by it',
  },
  {
    seed: 570283,
    seconds: 5,
    plan: {},
    found:
      'a process that was stopped for a moment while it was stopped went on in parts, and granted a lease seconds later',
  },
  {
    seed: 571754,
    seconds: 5,
    plan: {},
    found: 'an addition came true at a restart, and made a majority of a member that nobody started: no API told of it',
  },
];
