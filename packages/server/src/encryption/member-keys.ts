/** The keys of encryption at rest while a member runs. */
import { type Logger, OperatorError } from '@etsd/base';
import { KeyRing, SealedDisk, Sealing, type World } from '@etsd/runtime';
import type { MemberConfig } from '../config/config.ts';
import type { MemberParts } from '../member-parts.ts';
import { WatchedDocument } from '../watched-document.ts';
import type { KeySource } from './encryption-options.ts';
import { sealedFiles } from './files.ts';

/** How often the file is looked at, and how often the command is run again, in milliseconds. */
const FILE_LOOK_MS = 10_000;
const COMMAND_LOOK_MS = 300_000;

/** Reads what a key ring is parsed from. */
export type KeyReader = (source: KeySource) => Promise<Buffer>;

/** How a source is called in messages. */
export function sourceName({ file }: KeySource): string {
  return file === '' ? 'the output of --encryption-key-command' : file;
}

export class MemberKeys {
  /** The world with a disk that encrypts. */
  readonly world: World;
  private readonly document: WatchedDocument;

  private constructor(world: World, document: WatchedDocument) {
    this.world = world;
    this.document = document;
  }

  /** Null where nothing is to be encrypted. Throws an `OperatorError` where the keys cannot be used. */
  static async open({ world, config, logger, readKeys }: MemberParts): Promise<MemberKeys | null> {
    const source = config.encryption;
    if (source === null) return null;
    if (readKeys === undefined) {
      throw new OperatorError('--encryption-key-file cannot be used here', 'Nothing outside of this process is read.');
    }
    const name = sourceName(source);
    let former = await readKeys(source);
    const contents = [former];
    const sealing = new Sealing(KeyRing.parse(former, name), world.random);
    const disk = new SealedDisk(world.disk, sealing);
    const read = async (): Promise<Buffer[]> => {
      const content = await readKeys(source);
      if (content.equals(former)) return [content];
      await refuseIfNeeded(world, config, KeyRing.parse(content, name));
      former = content;
      return [content];
    };
    const take = (content: readonly Buffer[]): void => {
      sealing.keys = KeyRing.parse(content[0] as Buffer, name);
      say(logger, sealing.keys);
    };
    const timers = { after: (ms: number, fn: () => void) => world.timers.after(ms, fn, { ref: false }) };
    const everyMs = source.file === '' ? COMMAND_LOOK_MS : FILE_LOOK_MS;
    const document = new WatchedDocument({ timers, logger, name: 'keys of encryption', everyMs, read, take }, contents);
    say(logger, sealing.keys);
    document.start();
    return new MemberKeys({ ...world, disk }, document);
  }

  /** Reads them again now. */
  reload(): void {
    this.document.ask();
  }

  stop(): void {
    this.document.stop();
  }
}

function say(logger: Logger, { keys, newest }: KeyRing): void {
  logger.log('info', 'the log, snapshots and the archive are encrypted; the store is not: it needs an encrypted disk', {
    'writes-with': newest?.id,
    reads: keys.map(({ id }) => id),
  });
}

/** A key that is still needed must not go: the next start would fail. */
async function refuseIfNeeded(world: World, config: MemberConfig, keys: KeyRing): Promise<void> {
  const paths = [config.dataDir, config.walDir, config.archive?.directory ?? ''].filter((path) => path !== '');
  for await (const { path, head } of sealedFiles(world.disk, paths)) {
    if (head === null) continue;
    const key = keys.find(head.keyId);
    if (key?.fingerprint.equals(head.fingerprint) === true) continue;
    throw new OperatorError(
      `key "${head.keyId}" is not among them any more, and ${path} is encrypted with it`,
      'Put it back above the newest one; `etsdutl encryption status` says when it is not needed.',
    );
  }
}
