/** Hands archived objects to a program that stores them elsewhere, one after the other, in the order they were made. */
import { errorFrom, type Logger } from '@etsd/base';
import { type Disk, joinPath, type World } from '@etsd/runtime';
import type { ArchiveMetrics } from './archive-metrics.ts';
import type { ChainWriter } from './chain-writer.ts';
import { MANIFEST_SUFFIX, type Manifest } from './manifest.ts';
import { Rest } from './rest.ts';

const RETRY_MS = 1000;
const RETRY_MAX_MS = 60_000;
/** A program that takes longer is ended, and called again later. */
export const COMMAND_TIMEOUT_MS = 3_600_000;
/** In the chain's directory: the serial number of the last object that was stored. */
const SENT_NAME = 'sent';

export interface CommandResult {
  /** Of the program; −1 where it did not end by itself. */
  readonly status: number;
  /** The last of what it printed. */
  readonly output: string;
}

/** Runs lines of the shell, one at a time. */
export interface CommandRunner {
  run(line: string, timeoutMs: number): Promise<CommandResult>;
  /** Ends what runs. */
  close(): void;
}

export interface SenderParts {
  readonly world: Pick<World, 'timers' | 'disk'>;
  readonly logger: Logger;
  /** With `%p` for the path of the file and `%f` for its name in the archive; `%%` is a percent sign. */
  readonly command: string;
  readonly runner: CommandRunner;
  readonly metrics: ArchiveMetrics;
}

export class ArchiveSender {
  /** Serial number of the last object that was stored. */
  sent = 0;
  private readonly parts: SenderParts;
  private running: Promise<void> | null = null;
  private path = '';
  private isStopped = false;
  private readonly rest: Rest;

  constructor(parts: SenderParts) {
    this.parts = parts;
    this.rest = new Rest(parts.world.timers);
  }

  /** Sends what is not sent yet, in the background. */
  send(writer: ChainWriter): void {
    if (this.running !== null || this.isStopped) return;
    this.running = this.run(writer)
      .catch((error: unknown) => {
        this.parts.logger.log('warn', 'cannot hand on what was archived', { error: errorFrom(error).message });
      })
      .finally(() => {
        this.running = null;
      });
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.rest.wake();
    this.parts.runner.close();
    await this.running;
  }

  private async run(writer: ChainWriter): Promise<void> {
    const { disk } = this.parts.world;
    if (this.path !== writer.path) {
      this.sent = await readSent(disk, writer.path);
      this.path = writer.path;
    }
    let failures = 0;
    for (let next = this.next(writer); next !== null && !this.isStopped; next = this.next(writer)) {
      if (await this.store(writer, next)) {
        failures = 0;
        this.sent = next.serial;
        await disk.writeFileAtomic(joinPath(writer.path, SENT_NAME), Buffer.from(`${next.serial}\n`));
      } else if (!this.isStopped) {
        await this.rest.take(Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures++));
      }
    }
  }

  private next({ manifests }: ChainWriter): Manifest | null {
    let next: Manifest | null = null;
    let unsent = 0;
    for (const each of manifests) {
      if (each.serial <= this.sent) continue;
      unsent++;
      if (next === null || each.serial < next.serial) next = each;
    }
    this.parts.metrics.unsent = unsent;
    return next;
  }

  /** The object, then its manifest: as here, it counts once that is there. */
  private async store({ path }: ChainWriter, { name }: Manifest): Promise<boolean> {
    const { command, runner, logger, metrics } = this.parts;
    const chain = path.slice(path.lastIndexOf('/') + 1);
    for (const file of [name, `${name}${MANIFEST_SUFFIX}`]) {
      const line = commandLine(command, joinPath(path, file), `${chain}/${file}`);
      const { status, output } = await runner.run(line, COMMAND_TIMEOUT_MS);
      if (status === 0) continue;
      if (this.isStopped) return false;
      metrics.sendFailures++;
      logger.log('warn', 'the command did not store what was archived; it is called again', {
        file: `${chain}/${file}`,
        status,
        output,
      });
      return false;
    }
    return true;
  }
}

export function commandLine(command: string, path: string, name: string): string {
  const values: Readonly<Record<string, string>> = { '%p': path, '%f': name, '%%': '%' };
  return command.replace(/%[pf%]/g, (mark) => values[mark] as string);
}

async function readSent(disk: Disk, directory: string): Promise<number> {
  const path = joinPath(directory, SENT_NAME);
  if ((await disk.stat(path)) === null) return 0;
  const text = (await disk.readFile(path)).toString('utf8').trim();
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}
