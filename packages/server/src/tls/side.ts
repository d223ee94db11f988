/** TLS of one side of a member: its files as they are on disk now, and who is let in. */
import { errorFrom, type Logger, OperatorError } from '@etsd/base';
import type { CheckOutcome, HandshakeWatcher, PeerCertificate, Timer, TlsOptions, World } from '@etsd/runtime';
import { checkAddress, checkAllowed, checkRevoked } from './certificate-checks.ts';
import { type Credentials, checkCredentials, filesOf, requireValid } from './credentials.ts';
import { TlsFigures } from './figures.ts';
import { QuietLines } from './quiet-lines.ts';
import type { SideFlags } from './side-flags.ts';
import { WatchedFiles } from './watched-files.ts';

/** How often the files are looked at while nobody comes. */
const LOOK_MS = 2000;
/** How long a client that comes may be held up by a disk that does not tell whether files have changed. */
const HELD_UP_MS = 500;
/** A certificate that ends sooner is warned of. */
const SOON_MS = 7 * 86_400_000;

type Parts = Pick<World, 'disk' | 'clock' | 'timers' | 'names'>;

export class TlsSide {
  readonly flags: SideFlags;
  readonly figures: TlsFigures;
  private readonly world: Parts;
  private readonly logger: Logger;
  private readonly lines: QuietLines;
  private readonly files: WatchedFiles;
  private credentials: Credentials;
  private dialling: TlsOptions;
  /** Of each listener, by the protocols it offers. */
  private readonly listening = new Map<string, TlsOptions>();
  private look: { readonly done: Promise<void>; readonly sinceMs: number } | null = null;
  private nextLook: Promise<void> | null = null;
  private timer: Timer | null = null;
  /** Of the last attempt that failed, so that it is told once. */
  private complaint = '';

  private constructor(world: Parts, logger: Logger, flags: SideFlags, files: WatchedFiles, credentials: Credentials) {
    this.world = world;
    this.logger = logger;
    this.flags = flags;
    this.files = files;
    this.credentials = credentials;
    this.figures = new TlsFigures(flags.side);
    this.lines = new QuietLines(logger, world.clock);
    this.dialling = this.dialOf(credentials);
    this.figures.expiries = credentials.expiries;
    this.warnOfEnds();
  }

  /** Reads and checks what the flags name. Rejects with an `OperatorError` that names the flag and the file at fault. */
  static async open(world: Parts, logger: Logger, flags: SideFlags): Promise<TlsSide> {
    const named = filesOf(flags);
    const wallMs = (): number => world.clock.wallMs();
    // One after the other, so that the one that cannot be read is known.
    for (const { flag, path } of named) {
      await world.disk.readFile(path).catch((error: unknown) => {
        throw new OperatorError(`${flag} ${path} cannot be read`, 'Check the path and its permissions.', {
          cause: error,
        });
      });
    }
    const files = new WatchedFiles(
      world.disk,
      wallMs,
      named.map(({ path }) => path),
    );
    await files.look();
    return new TlsSide(world, logger, flags, files, checkCredentials(flags, files.contents()));
  }

  /** What a listener of this side is to be given; always of the moment by its own `current`. */
  serverOptions(alpn: readonly string[]): TlsOptions {
    const key = alpn.join();
    const current = (): TlsOptions => {
      let options = this.listening.get(key);
      if (options === undefined) {
        options = this.serverOf(this.credentials, alpn);
        this.listening.set(key, options);
      }
      return options;
    };
    return { ...current(), current, renew: () => this.renew() };
  }

  /** What is shown and demanded where this side dials; always of the moment by its own `current`. */
  dialOptions(): TlsOptions {
    return { ...this.dialling, current: () => this.dialling };
  }

  /** Begins to look at the files from time to time. */
  watch(): void {
    this.timer ??= this.world.timers.every(LOOK_MS, () => void this.renew(), { ref: false });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** Counts handshakes, and tells of those that fail. */
  readonly watcher: HandshakeWatcher = {
    agreed: (remoteAddress, agreement) => {
      this.figures.countAgreed(agreement);
      if (!this.logger.enabled('debug')) return;
      const { version, cipher, group, isResumed } = agreement;
      this.logger.log('debug', 'TLS handshake done', {
        side: this.flags.side,
        'remote-addr': remoteAddress,
        version,
        cipher,
        group,
        resumed: isResumed,
      });
    },
    refused: (remoteAddress, serverName, refusal, error) => {
      this.figures.countRefused(refusal);
      this.lines.log('warn', `rejected connection on ${this.flags.side} endpoint`, {
        'remote-addr': remoteAddress,
        'server-name': serverName,
        reason: refusal,
        error: error.message,
      });
    },
  };

  // ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Resolves when the files were looked at after this call, or when that takes too long. Never rejects. */
  renew(): Promise<void> {
    const { clock } = this.world;
    if (this.look === null) return this.inTime(this.begin());
    if (clock.nowMs() - this.look.sinceMs > HELD_UP_MS) return Promise.resolve();
    // The look under way may have passed the file that has changed since.
    this.nextLook ??= this.look.done.then(() => {
      this.nextLook = null;
      return this.begin();
    });
    return this.inTime(this.nextLook);
  }

  private begin(): Promise<void> {
    const done = this.takeChanges().finally(() => {
      this.look = null;
    });
    this.look = { done, sinceMs: this.world.clock.nowMs() };
    return done;
  }

  private inTime(done: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.world.timers.after(HELD_UP_MS, resolve, { ref: false });
      void done.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Takes files that have changed, all of them or none. */
  private async takeChanges(): Promise<void> {
    let changed: string[] = [];
    try {
      changed = await this.files.look();
      if (changed.length === 0) return;
      const credentials = checkCredentials(this.flags, this.files.contents());
      requireValid(credentials, this.world.clock.wallMs());
      this.credentials = credentials;
    } catch (error) {
      this.complain(error);
      return;
    }
    this.complaint = '';
    this.listening.clear();
    this.dialling = this.dialOf(this.credentials);
    this.figures.expiries = this.credentials.expiries;
    this.figures.reloads.taken++;
    const { side } = this.flags;
    this.logger.log('info', 'changed TLS files are in use from here on', { side, files: changed });
    this.warnOfEnds();
  }

  private complain(thrown: unknown): void {
    const error = errorFrom(thrown);
    if (error.message === this.complaint) return;
    this.complaint = error.message;
    this.figures.reloads.refused++;
    this.logger.log('error', 'changed TLS files cannot be used; those of before stay in use', {
      side: this.flags.side,
      error: error.message,
      ...(error instanceof OperatorError && error.advice !== '' ? { advice: error.advice } : {}),
    });
  }

  private warnOfEnds(): void {
    const nowMs = this.world.clock.wallMs();
    for (const { file, kind, atMs } of this.credentials.expiries) {
      if (!(atMs - nowMs < SOON_MS)) continue;
      const ends = kind === 'revocations' ? 'is to be followed by a newer one' : 'ends';
      this.logger.log('warn', atMs < nowMs ? `TLS ${kind} has expired` : `TLS ${kind} ${ends} soon`, {
        flag: file.flag,
        path: file.path,
        'not-after': new Date(atMs).toISOString(),
      });
    }
  }

  // ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private serverOf({ shown, ca }: Credentials, alpn: readonly string[]): TlsOptions {
    const { requireCertificate } = this.flags;
    return {
      ...(shown ?? {}),
      ...(ca === null ? {} : { ca }),
      ...(requireCertificate ? { requireClientCertificate: true } : {}),
      ...this.versions(),
      alpn,
      checkClient: (certificate, remote) => this.checkClient(certificate, remote),
    };
  }

  private dialOf({ dialled, ca }: Credentials): TlsOptions {
    const { serverName, isSelfSigned } = this.flags;
    return {
      ...(dialled ?? {}),
      ...(ca === null ? {} : { ca }),
      ...(serverName === '' ? {} : { serverName }),
      ...(isSelfSigned ? { insecureSkipVerify: true } : {}),
      ...this.versions(),
      checkServer: (certificate) => this.checkNamesAndRevocations(certificate),
    };
  }

  private versions(): Pick<TlsOptions, 'minVersion' | 'maxVersion' | 'ciphers'> {
    const { minVersion, maxVersion, ciphers } = this.flags;
    return { minVersion, maxVersion, ...(ciphers === '' ? {} : { ciphers }) };
  }

  private checkClient(certificate: PeerCertificate, remote: string): CheckOutcome | Promise<CheckOutcome> {
    const outcome = this.checkNamesAndRevocations(certificate);
    if (outcome !== null || !this.flags.checksAddress) return outcome;
    return checkAddress(certificate, remote, this.world.names);
  }

  private checkNamesAndRevocations(certificate: PeerCertificate): CheckOutcome {
    const { allowedCommonNames, allowedHostnames } = this.flags;
    const outcome = checkAllowed(certificate, allowedCommonNames, allowedHostnames);
    if (outcome !== null || this.credentials.revocations === null) return outcome;
    return checkRevoked(certificate, this.credentials.revocations);
  }
}
