import { CorruptionError, crc32c, errorChain, OperatorError } from '@etsd/base';
import { Entry } from '@etsd/proto';
import type { Rot } from '@etsd/runtime/sim';
import { newestSnapshot, readLog } from '@etsd/wal';
import type { SimCluster } from './cluster.ts';
import type { SimMember } from './member.ts';

const DATA = '/data/member/';
const LOG = '/data/member/wal';
/** As many entries a log may lack that a few bits make look torn: those of its last records. */
const TORN_MAX = 4;
/** So long it is waited for the others to have what a member has forgotten. */
const PATIENCE_MS = 3000;
const LOOK_MS = 100;

/** Where writes may have gone astray. */
const ANYTHING = ['.wal', '.snap', '.db'];

/** What a log has promised. */
interface Promised {
  readonly lastIndex: number;
  readonly term: number;
  /** Of every entry; 0 where it is not known. */
  readonly digest: number;
}

/** What a start would make of it. */
interface Found extends Promised {
  /** Where the log seems to end. */
  readonly endPath: string;
  readonly endPosition: number;
}

/**
 * Disks that hold something else than they were given: bits that turn over where they lie, and writes that go elsewhere. Their
 * member is stopped, and its log looked at with the eyes of a member that starts:
 *
 * - What cannot be the log must be refused, by naming file and place; the member is replaced, as its operator would.
 * - What looks like the whole log must be the whole log.
 * - What looks like a log that a crash has torn is cut by whoever starts on it. Raft can bear a member that forgets only if a
 *   majority of the others has what it forgot; until then the member is not started, and it is replaced if that takes too long.
 *
 * So many disks only that the members without them are a majority.
 */
export class Decay {
  private readonly cluster: SimCluster;
  private readonly until: (ms: number, end: () => void) => void;

  constructor(cluster: SimCluster, until: (ms: number, end: () => void) => void) {
    this.cluster = cluster;
    this.until = until;
  }

  /** So many bits of this member's files turn over while it is down. */
  rot(target: SimMember, bits: number): boolean {
    if (!this.maySuffer(target)) return false;
    this.stop(target);
    this.run(this.turnOver(target, bits));
    return true;
  }

  /** For a while this share of the member's writes goes elsewhere in the same file. */
  misdirect(target: SimMember, share: number, forMs: number): boolean {
    if (!this.maySuffer(target)) return false;
    const { medium, diskFaults } = target.machine;
    const before = medium.strays;
    // If it ends meanwhile it is not started before its disk has been looked at.
    target.isHeld = true;
    target.refusal = { isDue: false, names: (text) => tellsWhere(text, ANYTHING), refused: () => this.refused() };
    diskFaults.misdirectRate = share;
    this.until(forMs, () => {
      diskFaults.misdirectRate = 0;
      this.stop(target);
      const { lastIndex, term } = target.lastPromise;
      const damaged = medium.strays === before ? [] : ANYTHING;
      this.run(this.goOn(target, { lastIndex, term, digest: 0 }, damaged));
    });
    return true;
  }

  private run(work: Promise<void>): void {
    work.catch((error: unknown) => this.cluster.broke('does not throw', String((error as Error).stack ?? error)));
  }

  /** Whether a majority is left without this one and all others that are in doubt. */
  private maySuffer(target: SimMember): boolean {
    const { members, current, isChanging } = this.cluster;
    const belonging = members.filter((one) => (one.isUsed && !one.isRemoved) || one.isMissing);
    if (isChanging || !target.isReady || target.isLeaving || target.isDoubtful) return false;
    if (belonging.some((one) => one.isLeaving || one.isDamaged)) return false;
    const sound = current.filter((one) => one !== target && !one.isDoubtful && !one.mayBeLearner && one.run > 0);
    return 2 * sound.length > belonging.length;
  }

  private stop(target: SimMember): void {
    target.isHeld = true;
    target.kill();
  }

  private async turnOver(target: SimMember, bits: number): Promise<void> {
    const before = await look(target);
    if (typeof before === 'string') {
      this.cluster.broke('damage is told', `${target.name} finds what is not there: ${before}`);
      return;
    }
    const rots: Rot[] = [];
    for (let left = bits; left > 0; left--) {
      const rot = target.machine.medium.rot((path) => path.startsWith(DATA) && /\.(wal|snap|db)$/.test(path));
      if (rot === null) continue;
      rots.push(rot);
      this.cluster.trace.note(target.name, `rots: ${describe(rot)}`);
    }
    await this.goOn(
      target,
      before,
      rots.map(({ path }) => path),
      rots,
    );
  }

  /** Decides what is to become of a member that is down and may have lost some of what it promised. */
  private async goOn(
    target: SimMember,
    promised: Promised,
    damaged: readonly string[],
    rots: readonly Rot[] = [],
  ): Promise<void> {
    const { cluster } = this;
    const found = await look(target);
    if (target.isDamaged) {
      // It has found out by itself.
      target.isHeld = false;
      return;
    }
    const files = damaged.map((path) => path.slice(path.lastIndexOf('/') + 1));
    if (typeof found === 'string') {
      if (damaged.length === 0) cluster.broke('damage is told', `${target.name} finds what is not there: ${found}`);
      this.expect(target, true, (text) => /\.wal/.test(text) && tellsWhere(text, files));
      return;
    }
    this.compare(target, promised, found, rots);
    const hasForgotten = found.lastIndex < promised.lastIndex || found.term < promised.term;
    if (damaged.length > 0 && hasForgotten)
      cluster.trace.note(target.name, `forgot ${found.lastIndex}…${promised.lastIndex}`);
    if (damaged.length > 0 && !(await this.othersHave(target, promised))) {
      this.replace(target);
      return;
    }
    this.expect(target, false, (text) => damaged.length > 0 && tellsWhere(text, files));
  }

  private compare(target: SimMember, promised: Promised, found: Found, rots: readonly Rot[]): void {
    const forgotten = promised.lastIndex - found.lastIndex;
    // A frame head of which the only bit that was one is zero now looks like the end, whatever comes behind it.
    const isHeadGone = rots.some(
      ({ path, position }) => path === found.endPath && Math.floor(position / 8) * 8 === found.endPosition,
    );
    if (promised.digest !== 0 && forgotten > TORN_MAX && !isHeadGone) {
      this.cluster.broke('damage is told', `${target.name} takes a log for torn that lacks ${forgotten} entries`);
    }
    if (promised.digest === 0 || found.lastIndex !== promised.lastIndex || found.digest === promised.digest) return;
    this.cluster.broke(
      'damage is told',
      `${target.name} takes a damaged log of ${found.lastIndex} entries for its own`,
    );
  }

  /** Starts it, and remembers what it has to say, or may say, if it does not. */
  private expect(target: SimMember, isDue: boolean, names: (text: string) => boolean): void {
    if (!isDue) this.cluster.universe.simulation.counts.add('damage.survived');
    target.refusal = { isDue, names, refused: () => this.refused() };
    target.isHeld = false;
    target.boot();
  }

  private refused(): void {
    this.cluster.universe.simulation.counts.add('damage.refused');
  }

  private replace(target: SimMember): void {
    const { trace, universe } = this.cluster;
    trace.note(target.name, 'is not to be trusted with what it has forgotten');
    universe.simulation.counts.add('damage.forgotten');
    target.isHeld = false;
    target.isDamaged = true;
    target.isLeaving = true;
  }

  /** Whether, soon, a majority has all of it without this member, and somebody leads in its term or a later one. */
  private async othersHave(target: SimMember, { lastIndex, term }: Promised): Promise<boolean> {
    const { cluster } = this;
    for (let waitedMs = 0; waitedMs <= PATIENCE_MS; waitedMs += LOOK_MS) {
      const belonging = cluster.members.filter((one) => (one.isUsed && !one.isRemoved) || one.isMissing);
      const having = belonging.filter(
        ({ member, isLearner }) => member !== null && !isLearner && member.replication.commitIndex >= lastIndex,
      );
      const leads = cluster.leader?.member?.replication.term ?? 0;
      if (2 * having.filter((one) => one !== target).length > belonging.length && leads >= term) return true;
      await new Promise<void>((resolve) => cluster.after(LOOK_MS, resolve));
    }
    return false;
  }
}

/** Whether an error says what is wrong, and where: a place in a file or in the log, or one of these files. */
function tellsWhere(text: string, files: readonly string[]): boolean {
  return /at byte \d+|ends at \d+|entry \d+|offset \d+/.test(text) || files.some((name) => text.includes(name));
}

/** The log as a start would find it, or why it would refuse it. */
async function look({ machine }: SimMember): Promise<Found | string> {
  const { disk } = machine.world;
  try {
    const snapshot = await newestSnapshot(disk, LOG);
    const start = { index: snapshot?.index ?? 0, term: snapshot?.term ?? 0 };
    const { entries, hardState, end } = await readLog(disk, LOG, start);
    let digest = 1;
    for (const entry of entries) {
      const bytes = Entry.encode(entry);
      digest = crc32c(bytes, 0, bytes.length, digest);
    }
    const lastIndex = start.index + entries.length;
    const endPath = `${LOG}/${end.segment.name}`;
    return { lastIndex, term: hardState.term, digest, endPath, endPosition: end.position };
  } catch (error) {
    if (error instanceof CorruptionError || error instanceof OperatorError) return errorChain(error);
    throw error;
  }
}

function describe({ path, position, bit }: Rot): string {
  return `bit ${bit} of byte ${position} of ${path}`;
}
