/** Judges what was found in a data directory: what is wrong, what was lost, what is safe to do. */
import { type Logger, OperatorError } from '@etsd/base';
import { hasCode, joinPath, type World } from '@etsd/runtime';
import { newestSnapshot, Wal } from '@etsd/wal';
import { brokenPromise, following, type Inspection } from './inspect.ts';
import { layoutOf, lockAll, releaseAll } from './layout.ts';

/** `problem` keeps a member from starting or from being trusted; a `note` does not. */
export type Severity = 'problem' | 'note';

export interface Finding {
  readonly severity: Severity;
  /** File and position, or the directory. */
  readonly where: string;
  readonly what: string;
  /** What is gone with it, in words; '' for nothing that was acknowledged. */
  readonly lost: string;
  readonly advice: string;
  /** What `repair` does about it, or null. */
  readonly repair: 'cut-torn-tail' | 'replay-log' | null;
}

const REBUILD = 'With peers: etsdutl rebuild. Alone: etsdutl recover makes a member of what is left.';

/** In the order of their weight; empty for a directory in which all is well. */
export function judge(inspection: Inspection): Finding[] {
  return [...judgeLog(inspection), ...judgeStore(inspection), ...judgeBoth(inspection)];
}

function problem(where: string, what: string, lost: string, advice: string, repair: Finding['repair'] = null): Finding {
  return { severity: 'problem', where, what, lost, advice, repair };
}

function note(where: string, what: string, advice = ''): Finding {
  return { severity: 'note', where, what, lost: '', advice, repair: null };
}

/** The only voter: what its log says is committed was durable in it before. */
function isAlone({ store, memberId }: Inspection): boolean {
  const voters = store?.state.confState?.voters ?? [];
  return voters.length === 1 && voters[0] === memberId;
}

function judgeLog(inspection: Inspection): Finding[] {
  const { log, store, dataDir } = inspection;
  const findings: Finding[] = [];
  if (log === null) {
    const what = 'there is no log: without it nobody knows what this member promised';
    findings.push(
      problem(dataDir, what, 'whatever the store does not contain', `Give --wal-dir if it lies elsewhere. ${REBUILD}`),
    );
    return findings;
  }
  const applied = store?.state.index ?? 0;
  for (const { path, position, problem: what, intactFrom } of log.damages) {
    const behind =
      intactFrom === null ? 'nothing intact follows in this file' : `entries are intact again from ${intactFrom} on`;
    const isContained = intactFrom !== null && intactFrom <= applied + 1;
    const lost = isContained
      ? ''
      : `entries behind ${Math.max(applied, log.ranges[0]?.last ?? 0)}, as far as this directory is concerned`;
    const kept = isContained ? `; the store contains everything up to entry ${applied}, so that nothing is lost` : '';
    findings.push(problem(`${path}, byte ${position}`, `the log is damaged: ${what}; ${behind}${kept}`, lost, REBUILD));
  }
  if (log.cut !== null) {
    const { path, position, size } = log.cut;
    const end = log.torn?.problem ?? 'nothing stands behind its last record';
    const text = `the log was cut: ${end}, in a file of ${size} bytes, which is less than it was made with`;
    findings.push(problem(`${path}, byte ${position}`, text, 'what stood behind it, acknowledged or not', REBUILD));
  } else if (log.torn !== null && isAlone(inspection) && log.torn.promised > (log.ranges.at(-1)?.last ?? 0)) {
    const { path, position, problem: what, promised } = log.torn;
    const text = `the log is damaged: ${what}; but intact records behind it say that entry ${promised} is committed`;
    findings.push(problem(`${path}, byte ${position}`, text, `entries up to ${promised} at least`, REBUILD));
  } else if (log.torn !== null) {
    const { path, position, problem: what } = log.torn;
    const text = `the log ends in half a record, as a crash leaves it: ${what}`;
    const advice = 'The next start cuts it off, keeping a copy; so does: etsdutl doctor --repair.';
    findings.push(problem(`${path}, byte ${position}`, text, '', advice, 'cut-torn-tail'));
  }
  return findings;
}

function judgeStore({ store, storeDamage, hasStore, log, dataDir, product }: Inspection): Finding[] {
  if (storeDamage !== null) {
    const isWhole = log !== null && log.damages.length === 0 && log.ranges.length === 1 && log.ranges[0]?.first === 1;
    const advice = isWhole
      ? 'The log goes back to the first entry: etsdutl doctor --repair sets the store aside, and the next start makes it anew from the log.'
      : REBUILD;
    const lost = isWhole ? '' : 'what only this store contained: everything, if there are no peers and no backup';
    return [problem(dataDir, storeDamage.message, lost, advice, isWhole && product === 'etsd' ? 'replay-log' : null)];
  }
  if (!hasStore) {
    const isWhole = log?.ranges[0]?.first === 1 || (log?.ranges.length ?? 0) === 0;
    if (isWhole) return [note(dataDir, 'there is no store yet: the next start makes it from the log')];
    return [
      problem(
        dataDir,
        'the store is missing, and the log does not go back to the first entry',
        'what the log was cut by',
        REBUILD,
      ),
    ];
  }
  if (store !== null && !store.hasChecksum && product === 'etsd') {
    const what = 'the store was written by an older version, without checksums: only its structure could be looked at';
    return [note(dataDir, what, 'etsdutl defrag writes it anew, with them.')];
  }
  return [];
}

function judgeBoth({ store, log, dataDir, memberId }: Inspection): Finding[] {
  const findings: Finding[] = [];
  if (log === null) return findings;
  const broken = brokenPromise(log);
  if (broken !== null) {
    const what =
      `the log says that entry ${broken.hardState.commit} is committed, and ends at entry ${broken.last}: ` +
      'the commit index is behind the end of the log';
    const lost = `entries ${broken.last + 1} to ${broken.hardState.commit} on this member; what was committed is safe on the others`;
    findings.push(problem(dataDir, what, lost, REBUILD));
  }
  if (store === null) return findings;
  const { index } = store.state;
  const base = log.base?.index ?? 0;
  const last = Math.max(base, log.ranges.at(-1)?.last ?? 0);
  if (index > last && broken === null) {
    const what = `the store contains entry ${index}, but the log ends at ${last}: it lost what it had promised`;
    findings.push(problem(dataDir, what, '', `The store itself is sound up to entry ${index}. ${REBUILD}`));
  }
  if (index < base) {
    const what = `the store ends at entry ${index}, but the log was cut at ${base}`;
    findings.push(
      problem(dataDir, what, `entries ${index + 1} to ${base}, unless a received snapshot lies beside it`, REBUILD),
    );
  }
  if (memberId !== null && store.state.removed.includes(memberId)) {
    findings.push(note(dataDir, 'this member was removed from its cluster', 'It can be deleted.'));
  }
  const open = following(log.ranges, Math.max(index, log.hardState.commit));
  if (open !== null) {
    const from = Math.max(index, log.hardState.commit) + 1;
    findings.push(
      note(
        dataDir,
        `entries ${from} to ${open.last} are not known to be committed, as after a crash; the cluster decides`,
      ),
    );
  }
  return findings;
}

export interface RepairOptions {
  readonly world: World;
  readonly logger: Logger;
  readonly dataDir: string;
  readonly walDir: string;
  readonly findings: readonly Finding[];
}

/** Does what is safe about the findings; gives what was done, in words. Copies of what it touches are kept. */
export async function repairDirectory(options: RepairOptions): Promise<string[]> {
  const { world, dataDir, walDir, findings } = options;
  const { disk } = world;
  const repairs = new Set(findings.map(({ repair }) => repair).filter((repair) => repair !== null));
  // Where anything else is wrong, a repair would only hide it.
  if (findings.some(({ severity, repair }) => severity === 'problem' && repair === null)) return [];
  const { storePath, walDirectory, snapDirectory } = layoutOf(dataDir, walDir);
  const locks = await lockAll(disk, [joinPath(dataDir, 'member', 'lock')], dataDir);
  const done: string[] = [];
  try {
    if (repairs.has('cut-torn-tail')) {
      const base = await newestSnapshot(disk, walDirectory);
      const { wal, repair } = await Wal.open(world, walDirectory, { index: base?.index ?? 0, term: base?.term ?? 0 });
      await wal.close();
      if (repair !== null)
        done.push(
          `cut ${repair.path} at byte ${repair.position}; as it was: ${repair.copyPath ?? 'no room for a copy'}`,
        );
    }
    if (repairs.has('replay-log')) {
      const aside = `${storePath}.broken`;
      await disk.remove(aside);
      await disk.rename(storePath, aside);
      await disk.remove(`${storePath}-lock`);
      await disk.syncDirectory(snapDirectory);
      done.push(`set the store aside as ${aside}; the next start makes it anew from the log`);
    }
  } catch (error) {
    if (!hasCode(error, 'ELOCKED')) throw error;
    throw new OperatorError(`a member is using ${dataDir}`, 'Stop the member first.', { cause: error });
  } finally {
    await releaseAll(locks);
  }
  return done;
}
