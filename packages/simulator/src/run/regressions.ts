/** A run that once failed, or that reaches what others do not. */
export interface Regression {
  readonly seed: number;
  readonly seconds: number;
  readonly found: string;
}

/** Run by every CI. What a seed draws changes with the simulator: each of these is a sample, kept for what it once showed. */
export const REGRESSIONS: readonly Regression[] = [
  { seed: 7, seconds: 20, found: 'full disks while authentication is turned on and off: alarms have to be cleared' },
  { seed: 97, seconds: 20, found: 'a lone member loses power again and again; a watch from a revision yet to come' },
  { seed: 362831787, seconds: 20, found: 'a member told to stop left a commit index behind the end of its log' },
];
