/** From which base, over which pieces, to which moment: decided before anything is made. */
import { OperatorError, type U64 } from '@etsd/base';
import type { Chain } from './chain.ts';
import type { BaseManifest, PieceManifest } from './manifest.ts';
import { type ReplayEnd, TO_THE_END } from './replay.ts';

export type RestoreMoment =
  | { readonly kind: 'latest' }
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'time'; readonly timeMs: number };

export interface RestorePlan {
  readonly chain: Chain;
  readonly base: BaseManifest;
  readonly pieces: readonly PieceManifest[];
  readonly end: ReplayEnd;
}

export interface PlanChoice {
  /** '' where the archive has one cluster only. */
  readonly clusterId: U64 | '';
  /** '' for the member whose archive fits best. */
  readonly memberId: U64 | '';
}

/** Rejects with an `OperatorError` that says what there is, where the archive does not have that moment. */
export function planRestore(all: readonly Chain[], moment: RestoreMoment, choice: PlanChoice): RestorePlan {
  const chains = chosen(all, choice);
  const plans = chains.map((chain) => planIn(chain, moment)).filter((plan) => plan !== null);
  // The one that reaches furthest; of those the one with the least to replay.
  const best = plans.sort(
    (a, b) => endIndex(b) - endIndex(a) || b.base.at.index - a.base.at.index || (a.chain.path < b.chain.path ? -1 : 1),
  )[0];
  if (best !== undefined) return best;
  throw new OperatorError(`the archive does not have ${momentText(moment)}; ${extentText(chains)}`, adviceOn(moment));
}

function chosen(all: readonly Chain[], { clusterId, memberId }: PlanChoice): Chain[] {
  const clusters = [...new Set(all.map(({ name }) => name.clusterId))].sort();
  if (clusterId === '' && clusters.length > 1) {
    throw new OperatorError(
      `the archive has ${clusters.length} clusters: ${clusters.join(', ')}`,
      'Say which one with --cluster-id.',
    );
  }
  const chains = all.filter(
    ({ name }) => (clusterId === '' || name.clusterId === clusterId) && (memberId === '' || name.memberId === memberId),
  );
  if (chains.length > 0) return chains;
  throw new OperatorError(
    'the archive has nothing of that cluster and member',
    'etsdutl archive list says what it has.',
  );
}

function planIn(chain: Chain, moment: RestoreMoment): RestorePlan | null {
  const end = endOf(chain, moment);
  if (end === null) return null;
  const base = chain.bases.findLast(({ at }) => at.revision <= end.revision && at.index <= end.index);
  if (base === undefined) return null;
  const pieces = chain.piecesBehind(base);
  if (moment.kind === 'latest' || reach(base, pieces, moment.kind) >= wanted(end, moment.kind)) {
    return { chain, base, pieces, end };
  }
  return null;
}

function endOf(chain: Chain, moment: RestoreMoment): ReplayEnd | null {
  switch (moment.kind) {
    case 'latest':
      return TO_THE_END;
    case 'revision':
      return { ...TO_THE_END, revision: moment.revision };
    case 'time': {
      const samples = chain.samples();
      // A clock may have been put back: nothing that may be later than asked for is taken.
      const later = samples.findIndex(({ timeMs }) => timeMs > moment.timeMs);
      const last = later < 0 ? samples.at(-1) : samples[later - 1];
      const isKnown = later >= 0 || last?.timeMs === moment.timeMs;
      return last === undefined || !isKnown ? null : { ...TO_THE_END, index: last.index };
    }
  }
}

/** How far the pieces lead for certain. */
function reach(base: BaseManifest, pieces: readonly PieceManifest[], kind: 'revision' | 'time'): number {
  let last = kind === 'revision' ? base.at.revision : base.at.index;
  for (const { samples } of pieces) {
    for (const { revision, index } of samples) last = Math.max(last, kind === 'revision' ? revision : index);
  }
  return last;
}

function wanted({ revision, index }: ReplayEnd, kind: 'revision' | 'time'): number {
  return kind === 'revision' ? revision : index;
}

function endIndex({ base, pieces }: RestorePlan): number {
  return reach(base, pieces, 'time');
}

export function formatTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function momentText(moment: RestoreMoment): string {
  if (moment.kind === 'latest') return 'a base to begin with';
  return moment.kind === 'revision' ? `revision ${moment.revision}` : formatTime(moment.timeMs);
}

function extentText(chains: readonly Chain[]): string {
  const parts = chains.map((chain) => {
    const { end } = chain;
    const first = chain.bases[0]?.at;
    if (first === undefined || end === null) return `${chain.name.directory} has no base`;
    const from = `revision ${first.revision} (${formatTime(first.timeMs)})`;
    return `${chain.name.directory} has ${from} to ${end.revision} (${formatTime(end.timeMs)})`;
  });
  return parts.join('; ');
}

function adviceOn(moment: RestoreMoment): string {
  if (moment.kind === 'latest') return 'Nothing can be restored before a first base was made.';
  return 'Ask for a moment within that, or leave out --to-revision and --to-time for the latest; etsdutl archive list says where it has gaps.';
}
