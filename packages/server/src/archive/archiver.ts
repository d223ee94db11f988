/**
 * Archives a member's log while it is written, and copies of its store now and then, so that the state of any moment can
 * be had again. It reads files of its own accord, rests between pieces, and nobody waits for it: where the archive cannot
 * be written it says so, tries again, and the member goes on. What the log no longer has by then is a gap, behind which a
 * new base begins.
 */
import { errorFrom, type Logger, OperatorError, type U64 } from '@etsd/base';
import type { Timer, World } from '@etsd/runtime';
import { joinPath } from '@etsd/runtime';
import type { ArchiveConfig } from '../config/archive-config.ts';
import { DISK_RESERVE_BYTES } from '../limits.ts';
import type { SnapshotFile } from '../snapshots/snapshot-files.ts';
import { pauser } from '../snapshots/turns.ts';
import type { ArchiveMetrics } from './archive-metrics.ts';
import { readChain } from './chain.ts';
import { ChainWriter } from './chain-writer.ts';
import { type LogTail, PIECE_BYTES, pendingLog } from './log-stretches.ts';
import { type BaseManifest, type ChainName, chainDirectory, parseChainName, type Sample } from './manifest.ts';
import { Rest } from './rest.ts';
import { outdated } from './retention.ts';
import { SampleQueue } from './samples.ts';
import type { ArchiveSender } from './sender.ts';

/** How often it is noted how far the log is applied: so exact is a point in time. */
const SAMPLE_MS = 1000;
/** After a failure it is tried again after this long, then twice as long each time. */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 60_000;
/** Free bytes of the archive's disk that are left alone: it may be the member's own. */
const SPARE_BYTES = 2 * DISK_RESERVE_BYTES;
/** Log behind the last base above which a new one is made before its time: what a restore has to replay. */
const LOG_PER_BASE_BYTES = 1024 * 1024 * 1024;
/** What is still to be archived where the archiver does not rest any more: more than one segment of the log. */
const HURRY_BYTES = 96 * 1024 * 1024;
/** Longest that a member which stops waits for the rest of its log to be archived. */
const LAST_ROUND_MS = 5000;

/** A copy of the store, and what moment it is of. */
export interface TakenBase {
  readonly file: Pick<SnapshotFile, 'read' | 'close'>;
  readonly at: Sample;
}

export interface ArchiverParts {
  readonly world: Pick<World, 'clock' | 'disk' | 'timers'>;
  readonly logger: Logger;
  readonly config: ArchiveConfig;
  readonly clusterId: U64;
  readonly memberId: U64;
  readonly walDirectory: string;
  readonly tail: LogTail;
  /** How far the log is applied now. */
  readonly applied: () => { readonly index: number; readonly term: number; readonly revision: number };
  /** A copy of the store as it is now. */
  readonly takeBase: () => Promise<TakenBase>;
  readonly leaseTtlMinSeconds: number;
  readonly isBusy: () => boolean;
  /** False while what is stored is in doubt (`Quarantine`): the log is archived on, copies and revisions are not. */
  readonly isTrusted: () => boolean;
  readonly metrics: ArchiveMetrics;
  /** Hands what was archived to a program; null where there is none. */
  readonly sender: ArchiveSender | null;
}

export class Archiver {
  private readonly parts: ArchiverParts;
  private readonly samples = new SampleQueue();
  private writer: ChainWriter | null = null;
  private sampling: Timer | null = null;
  private readonly rest: Rest;
  private running: Promise<void> = Promise.resolve();
  private isStopped = false;
  private isFailing = false;
  /** Another state was put in place of the member's: what is archived does not lead there. */
  private mustRebase = false;

  constructor(parts: ArchiverParts) {
    this.parts = parts;
    this.rest = new Rest(parts.world.timers);
  }

  start(): void {
    const { world } = this.parts;
    this.sampling = world.timers.every(SAMPLE_MS, () => this.sample(), { ref: false });
    this.sample();
    this.running = this.loop();
  }

  /** To be called when a snapshot from another member was installed. */
  stateReplaced(): void {
    this.mustRebase = true;
    this.rest.wake();
  }

  /** Archives the rest of the log, if that is done soon, and ends. The log must be closed. */
  async stop(): Promise<void> {
    const { world, sender, logger } = this.parts;
    this.sampling?.cancel();
    this.sample();
    this.isStopped = true;
    this.rest.wake();
    const last = this.running.then(() => (this.isFailing ? undefined : this.round()));
    const late = new Promise<void>((resolve) => {
      const timer = world.timers.after(LAST_ROUND_MS, resolve);
      last.catch(() => {}).finally(() => timer.cancel());
    });
    await Promise.race([last, late]).catch((error: unknown) => {
      logger.log('warn', 'could not archive the end of the log', { error: errorFrom(error).message });
    });
    await sender?.stop();
  }

  private sample(): void {
    const { world, applied, tail, metrics } = this.parts;
    const { index, term, revision } = applied();
    if (this.parts.isTrusted()) this.samples.add(world.clock.wallMs(), index, term, revision);
    const { writer } = this;
    if (writer === null) return;
    // A busy log is not waited for: it may be cut before its time comes.
    const last = writer.last;
    const isAhead = last !== null && (tail.sequence > last.sequence || tail.position - last.to > PIECE_BYTES);
    metrics.pendingBytes = pendingBytes(last, tail);
    if (isAhead && !this.isFailing) this.rest.wake();
  }

  private async loop(): Promise<void> {
    const { config, logger, metrics } = this.parts;
    let failures = 0;
    while (!this.isStopped) {
      let restMs = config.intervalMs;
      try {
        await this.round();
        if (this.isFailing) logger.log('info', 'the archive is written again', { 'archive-dir': config.directory });
        this.isFailing = false;
        failures = 0;
      } catch (error) {
        this.isFailing = true;
        metrics.failures++;
        restMs = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures++);
        this.failed(errorFrom(error), restMs);
      }
      if (!this.isStopped) await this.rest.take(restMs);
    }
  }

  private failed(error: Error, retryMs: number): void {
    const { config, logger } = this.parts;
    logger.log('warn', 'cannot archive; the member goes on without, and what its log loses meanwhile will be missing', {
      'archive-dir': config.directory,
      error: error.message,
      advice: error instanceof OperatorError ? error.advice : 'Check the directory and its disk.',
      'retry-ms': retryMs,
    });
  }

  /** Everything there is to do now. */
  private async round(): Promise<void> {
    const { config, world, metrics, tail } = this.parts;
    // Before the log was written there is nothing to say where it ends.
    if (tail.sequence < 0) return;
    this.writer ??= await this.open();
    await this.checkRoom();
    await this.archiveLog(this.writer);
    if (this.parts.isTrusted() && this.isBaseDue(this.writer)) await this.archiveBase(this.writer);
    await this.forget(this.writer);
    metrics.lastSuccessSeconds = world.clock.wallMs() / 1000;
    metrics.pendingBytes = pendingBytes(this.writer.last, tail);
    if (config.command !== '') this.parts.sender?.send(this.writer);
  }

  /** The chain to go on with: the newest of this member, or one more where the log is not the one that was archived. */
  private async open(): Promise<ChainWriter> {
    const { world, logger, config, clusterId, memberId, walDirectory } = this.parts;
    const { disk, clock } = world;
    await disk.makeDirectory(config.directory);
    let generation = 1;
    for (const directory of await disk.list(config.directory)) {
      const name = parseChainName(directory);
      if (name?.clusterId !== clusterId || name.memberId !== memberId) continue;
      generation = Math.max(generation, name.generation);
    }
    for (; ; generation++) {
      const directory = chainDirectory(clusterId, memberId, generation);
      const name: ChainName = { directory, clusterId, memberId, generation };
      await disk.makeDirectory(joinPath(config.directory, directory));
      const chain = await readChain(disk, config.directory, name);
      for (const problem of chain.problems) logger.log('warn', 'in the archive', { error: problem.message });
      // Others go first, as long as the log is not about to be cut.
      const isBusy = (): boolean => this.parts.isBusy() && this.parts.metrics.pendingBytes < HURRY_BYTES;
      const pause = pauser(world, { isBusy });
      const writer = new ChainWriter(chain, { disk, logger, nowMs: () => clock.wallMs(), pause });
      if (!(await writer.isContinuedBy(walDirectory))) {
        logger.log('warn', 'the log is not the one that was archived last; it is archived apart', {
          archived: directory,
          now: chainDirectory(clusterId, memberId, generation + 1),
        });
        continue;
      }
      await writer.clean();
      logger.log('info', 'archiving the log', { directory: writer.path, objects: writer.manifests.length });
      return writer;
    }
  }

  private async checkRoom(): Promise<void> {
    const { world, config } = this.parts;
    const free = await world.disk.freeBytes(config.directory);
    if (free >= SPARE_BYTES) return;
    throw new OperatorError(
      `no room on the disk of ${config.directory}: ${free} bytes are free, ${SPARE_BYTES} are to remain`,
      'Free space on that disk, or give --archive-retention a shorter time.',
    );
  }

  private async archiveLog(writer: ChainWriter): Promise<void> {
    const { world, walDirectory, tail, applied, logger, metrics } = this.parts;
    const { disk } = world;
    const now = applied();
    if (this.parts.isTrusted()) this.samples.add(world.clock.wallMs(), now.index, now.term, now.revision);
    const upTo = now.index;
    // What is applied is on disk already: behind the samples taken so far lies the end of the log.
    const end = { sequence: tail.sequence, position: tail.position };
    const pending = await pendingLog({ disk, walDirectory, last: writer.last, tail: end, appliedIndex: now.index });
    if (pending.hasGap) {
      metrics.gaps++;
      logger.log('warn', 'the log was cut before it was archived; what lies between cannot be restored', {
        'archived-to-segment': writer.last?.sequence,
        'goes-on-with-segment': pending.stretches[0]?.segment.sequence,
      });
    }
    if (pending.hasGap || writer.last === null) this.mustRebase = true;
    for (const [at, stretch] of pending.stretches.entries()) {
      const isLast = at === pending.stretches.length - 1;
      // A sample goes with the last piece of what was there when it was taken: no piece before holds all of it for certain.
      const samples = isLast ? this.samples.upTo(upTo) : [];
      const piece = await writer.addPiece(walDirectory, stretch, samples);
      metrics.bytes += piece.bytes;
      if (isLast) this.samples.drop(upTo);
    }
  }

  private isBaseDue(writer: ChainWriter): boolean {
    const { world, config, applied } = this.parts;
    if (this.mustRebase) return true;
    const newest = newestBase(writer);
    if (newest === null) return true;
    if (newest.at.index === applied().index) return false;
    if (world.clock.wallMs() - newest.timeMs >= config.baseIntervalMs) return true;
    let behind = 0;
    for (const each of writer.manifests) {
      if (each.kind === 'piece' && each.serial > newest.serial) behind += each.rawBytes;
    }
    return behind >= LOG_PER_BASE_BYTES;
  }

  private async archiveBase(writer: ChainWriter): Promise<void> {
    const { takeBase, leaseTtlMinSeconds, logger, metrics } = this.parts;
    // What is replaced meanwhile asks for another one.
    this.mustRebase = false;
    const { file, at } = await takeBase().catch((error: unknown) => {
      this.mustRebase = true;
      throw error;
    });
    try {
      // In doubt only now, the copy is, too.
      if (!this.parts.isTrusted()) {
        this.mustRebase = true;
        return;
      }
      // First the log up to the copy: an archive has all that lies between the beginning and the end it tells.
      await this.archiveLog(writer);
      const base = await writer.addBase(piecesOf(file), at, leaseTtlMinSeconds);
      metrics.bytes += base.bytes;
      metrics.lastBaseSeconds = at.timeMs / 1000;
      const { index, revision } = at;
      logger.log('info', 'archived a copy of the store', { index, revision, bytes: base.bytes });
    } catch (error) {
      this.mustRebase = true;
      throw error;
    } finally {
      file.close();
    }
  }

  /** Removes what is older than it has to be kept, as far as it was handed on. */
  private async forget(writer: ChainWriter): Promise<void> {
    const { world, config, sender, logger } = this.parts;
    if (config.retentionMs === 0) return;
    const cutoffMs = world.clock.wallMs() - config.retentionMs;
    const old = outdated(writer.manifests, cutoffMs).filter((each) => sender === null || each.serial <= sender.sent);
    for (const manifest of old) await writer.remove(manifest);
    if (old.length > 0) logger.log('info', 'removed from the archive what was too old', { objects: old.length });
  }
}

function newestBase(writer: ChainWriter): BaseManifest | null {
  let newest: BaseManifest | null = null;
  for (const each of writer.manifests) {
    if (each.kind === 'base' && (newest === null || each.serial > newest.serial)) newest = each;
  }
  return newest;
}

/** A guess that costs nothing: segments in between count as their usual length. */
function pendingBytes(last: { sequence: number; to: number } | null, tail: LogTail): number {
  if (last === null) return tail.position;
  const segments = tail.sequence - last.sequence;
  return Math.max(0, segments * SEGMENT_BYTES + tail.position - last.to);
}

const SEGMENT_BYTES = 64_000_000;

async function* piecesOf(file: TakenBase['file']): AsyncGenerator<Buffer> {
  for (let piece = await file.read(); piece !== null; piece = await file.read()) yield piece;
}
