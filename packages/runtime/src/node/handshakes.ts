/**
 * What a connection passes before it is anybody's: its hello is awaited, its turn, its handshake, and the checks of its
 * certificate. None of this is paid for by whoever is already in.
 *
 *   accept ─▶ hello (bytes gathered, nothing allocated by OpenSSL) ─▶ queue, one for each address, in turn
 *          ─▶ files looked at (`renew`) ─▶ handshake, so many at a time, so long a slice ─▶ `checkClient` ─▶ owner
 */
import type * as net from 'node:net';
import * as tls from 'node:tls';
import { RingQueue } from '@etsd/base';
import type {
  HandshakeCounts,
  HandshakeLimits,
  HandshakeRefusal,
  HandshakeWatcher,
  ListenOptions,
  TlsOptions,
} from '../network.ts';
import { networkOf } from '../network-of.ts';
import { HandshakePace } from './handshake-pace.ts';
import { HelloPlaces } from './hello-places.ts';
import { agreementOf, certificateOf, secureContextOptions } from './tls-parts.ts';

export const DEFAULT_HANDSHAKE_LIMITS: HandshakeLimits = {
  pending: 4096,
  pendingOfOneAddress: 512,
  underWay: 256,
  perSecondOfOneAddress: 50,
  timeoutMs: 10_000,
  sliceMs: 0.5,
};

/** Type of a TLS record that holds a handshake (RFC 8446 §5.1), and the bytes before its content. */
const HANDSHAKE_RECORD = 22;
const RECORD_HEADER_BYTES = 5;
const RECORD_BYTES_MAX = 16_384;
/** A handshake under way for longer gives way to an address that has fewer. */
const YIELD_MS = 1000;
/** Where more than so many wait, files are looked at this often instead of before each slice. */
const CROWD = 16;
const RENEW_MS = 50;
/** Where all who wait have had as many as they may, they are looked at again after this long. */
const PACE_MS = 10;
/** Connections of one address that are listened to before their handshake, and a hello's time where others wait for a place. */
const HELLOS_OF_ONE_ADDRESS = 32;
const HELLO_CROWDED_MS = 1000;
/** Of those that have taken too long so many are refused in one turn of the event loop: each takes as long as a put. */
const REFUSED_AT_ONCE = 8;
/**
 * Of one address so many seconds' worth of its pace are under way: a handshake that takes longer holds up the next of its
 * address, until it gives way after standing still for so long.
 */
const UNDER_WAY_SECONDS = 0.5;
const UNDER_WAY_OF_ONE_ADDRESS_MIN = 16;
const STILL_MS = 3000;
/** Of what an address may have a second it may have this part at once. */
const AT_ONCE_PART = 5;
/** How often what takes too long is looked for. */
const SWEEP_MS = 500;

const HTTP_ANSWER =
  'HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';

/** A connection whose handshake is not done. */
class Pending {
  readonly raw: net.Socket;
  readonly address: string;
  readonly remote: string;
  sinceMs: number;
  hello: Buffer[] = [];
  helloBytes = 0;
  /** Its bytes are read. Until then it is held up by us. */
  isHeard = false;
  isUnderWay = false;
  isClosed = false;
  isGone = false;
  /** It is through, open, and has asked for nothing yet. */
  isUnasked = false;

  constructor(raw: net.Socket, nowMs: number) {
    this.raw = raw;
    this.address = networkOf(raw.remoteAddress ?? '');
    this.remote = raw.remoteAddress === undefined ? '@' : joinPort(raw.remoteAddress, raw.remotePort);
    this.sinceMs = nowMs;
  }
}

export class HandshakeGate implements HandshakeCounts {
  underWay = 0;
  private readonly limits: HandshakeLimits;
  private readonly settings: TlsOptions;
  private readonly watcher: HandshakeWatcher | null;
  private readonly accept: (socket: tls.TLSSocket, asked: () => void) => void;
  private readonly server: tls.Server;
  /** In the order they came. */
  private readonly all = new Set<Pending>();
  private readonly ofAddress = new Map<string, number>();
  private readonly underWayOf = new Map<string, number>();
  private readonly underWayOfOneMax: number;
  /** Those whose hello is here, by address, and the addresses in turn. */
  private readonly queues = new Map<string, RingQueue<Pending>>();
  private readonly turns = new RingQueue<string>();
  private readonly pace: HandshakePace;
  private readonly hellos: HelloPlaces<Pending>;
  /** Turns are being given, or will be. */
  private isPumping = false;
  private sliceSpentMs = 0;
  /** When files were last looked at. */
  private renewedMs = Number.NEGATIVE_INFINITY;
  private lastOptions: TlsOptions | null = null;
  /** More than a turn's worth was late, and the rest is refused in the next one. */
  private isRefusing = false;
  private sweeper: NodeJS.Timeout | null = null;

  /** `accept` gets who is through, and what to call when it asks for something. */
  constructor(
    settings: TlsOptions,
    options: ListenOptions,
    accept: (socket: tls.TLSSocket, asked: () => void) => void,
  ) {
    this.settings = settings;
    this.limits = { ...DEFAULT_HANDSHAKE_LIMITS, ...options.handshakes };
    const { perSecondOfOneAddress } = this.limits;
    this.pace = new HandshakePace(perSecondOfOneAddress, Math.ceil(perSecondOfOneAddress / AT_ONCE_PART));
    const paced = Math.ceil(perSecondOfOneAddress * UNDER_WAY_SECONDS);
    this.underWayOfOneMax =
      perSecondOfOneAddress === 0 ? Number.POSITIVE_INFINITY : Math.max(UNDER_WAY_OF_ONE_ADDRESS_MIN, paced);
    this.hellos = new HelloPlaces({
      perAddress: HELLOS_OF_ONE_ADDRESS,
      crowdedMs: HELLO_CROWDED_MS,
      begin: (entry) => this.hear(entry),
      isGone: (entry) => entry.isGone,
    });
    this.watcher = options.handshakeWatcher ?? null;
    this.accept = accept;
    // Never listens: it is handed each connection when its turn has come.
    this.server = tls.createServer({
      ...secureContextOptions(settings),
      allowHalfOpen: true,
      ALPNProtocols: [...(settings.alpn ?? ['h2', 'http/1.1'])],
      requestCert: settings.requireClientCertificate === true || settings.ca !== undefined,
      rejectUnauthorized: settings.requireClientCertificate === true,
      handshakeTimeout: 0x7fff_ffff,
    });
    this.server.on('secureConnection', (socket) => void this.shaken(socket));
    this.server.on('tlsClientError', (error, socket) => this.failed(error, socket));
  }

  get pending(): number {
    return this.all.size;
  }

  /** Whether there may be room for another connection of this address; asked before anything is made of it. */
  readonly admits = (address: string): boolean => {
    if (this.all.size < this.limits.pendingOfOneAddress) return true;
    const held = this.ofAddress.get(networkOf(address)) ?? 0;
    if (held < this.limits.pendingOfOneAddress) return true;
    this.watcher?.refused(joinPort(address, 0), '', 'overload', OVERLOAD);
    return false;
  };

  /** Takes a connection that was just accepted. */
  admit(raw: net.Socket): void {
    const entry = new Pending(raw, performance.now());
    raw.on('error', ignore);
    const held = this.ofAddress.get(entry.address) ?? 0;
    const { pending, pendingOfOneAddress } = this.limits;
    if (held >= pendingOfOneAddress || (this.all.size >= pending && !this.makeRoom(held))) {
      this.tell(entry, 'overload', OVERLOAD);
      raw.destroy();
      return;
    }
    this.all.add(entry);
    this.ofAddress.set(entry.address, held + 1);
    raw.on('close', () => this.gone(entry));
    this.sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
    this.hellos.add(entry.address, entry, entry.sinceMs);
  }

  /** Where all places are taken, the one who has waited longest gives way, but not to an address that holds many. */
  private makeRoom(held: number): boolean {
    if (held >= this.limits.pending / 8) return false;
    const [oldest] = this.all;
    if (oldest === undefined) return false;
    this.refuse(oldest, 'overload', OVERLOAD);
    return true;
  }

  // ── hello ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private hear(entry: Pending): void {
    entry.isHeard = true;
    entry.sinceMs = performance.now();
    this.readHello(entry);
  }

  private readHello(entry: Pending): void {
    const { raw } = entry;
    const chunk = raw.read() as Buffer | null;
    if (chunk === null) {
      raw.once('readable', () => {
        if (entry.isGone) return;
        if (raw.readableLength > 0) this.readHello(entry);
        else if (raw.readableEnded || raw.readable === false) this.refuse(entry, 'hang-up', HANG_UP);
        else if (raw.read() === null) this.refuse(entry, 'hang-up', HANG_UP);
      });
      return;
    }
    entry.hello.push(chunk);
    entry.helloBytes += chunk.length;
    const hello = entry.hello.length === 1 ? chunk : Buffer.concat(entry.hello);
    entry.hello = [hello];
    if (hello[0] !== HANDSHAKE_RECORD) {
      if (/^[A-Z]{3,7} /.test(hello.toString('latin1', 0, 8))) raw.write(HTTP_ANSWER);
      this.refuse(entry, 'not-tls', NOT_TLS);
      return;
    }
    const length = hello.length < RECORD_HEADER_BYTES ? RECORD_BYTES_MAX : hello.readUInt16BE(3);
    if (length > RECORD_BYTES_MAX) this.refuse(entry, 'protocol', RECORD_TOO_LONG);
    else if (hello.length < RECORD_HEADER_BYTES + length) this.readHello(entry);
    else this.enqueue(entry);
  }

  private enqueue(entry: Pending): void {
    this.hellos.spoke(entry.address, entry);
    let queue = this.queues.get(entry.address);
    if (queue === undefined) {
      queue = new RingQueue<Pending>(2);
      this.queues.set(entry.address, queue);
      this.turns.push(entry.address);
    }
    queue.push(entry);
    // Whoever leaves while it waits is not begun with.
    entry.raw.on('readable', () => {
      if (entry.raw.readableLength === 0 && !entry.isUnderWay && !entry.isGone) this.refuse(entry, 'hang-up', HANG_UP);
    });
    this.pump();
  }

  // ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  private pump(): void {
    if (this.isPumping || this.turns.length === 0) return;
    this.isPumping = true;
    if (this.underWay >= this.limits.underWay && !this.makeWay()) {
      this.isPumping = false;
      return;
    }
    const { renew } = this.settings;
    const nowMs = performance.now();
    const isCrowded = this.all.size - this.underWay > CROWD && nowMs - this.renewedMs < RENEW_MS;
    if (renew === undefined || isCrowded) {
      this.slice();
      return;
    }
    this.renewedMs = nowMs;
    void renew().then(() => this.slice());
  }

  /** Where one address holds most of the handshakes under way, its oldest gives way to the one that holds fewest. */
  private makeWay(): boolean {
    const held = new Map<string, number>();
    const oldest = new Map<string, Pending>();
    for (const entry of this.all) {
      if (!entry.isUnderWay) continue;
      held.set(entry.address, (held.get(entry.address) ?? 0) + 1);
      if (!oldest.has(entry.address)) oldest.set(entry.address, entry);
    }
    const [[most, count] = ['', 0]] = [...held].sort(([, left], [, right]) => right - left);
    let next = '';
    let fewest = Number.POSITIVE_INFINITY;
    for (const address of this.queues.keys()) {
      const own = held.get(address) ?? 0;
      if (own < fewest) [next, fewest] = [address, own];
    }
    const victim = oldest.get(most);
    if (victim === undefined || count < fewest + 2) return false;
    if (victim.sinceMs > performance.now() - YIELD_MS) return false;
    while (this.turns.peek() !== next) this.turns.push(this.turns.take() as string);
    this.refuse(victim, 'overload', OVERLOAD);
    return this.underWay < this.limits.underWay;
  }

  /** Whether the address may have another one under way; if its oldest has stood still for long, that gives way. */
  private hasRoomFor(address: string, nowMs: number): boolean {
    if ((this.underWayOf.get(address) ?? 0) < this.underWayOfOneMax) return true;
    let oldest: Pending | null = null;
    for (const entry of this.all) {
      if (!entry.isUnderWay || entry.address !== address) continue;
      if (oldest === null || entry.sinceMs < oldest.sinceMs) oldest = entry;
    }
    if (oldest === null || nowMs - oldest.sinceMs < STILL_MS) return false;
    this.refuse(oldest, 'timeout', TIMEOUT);
    return true;
  }

  /** Begins handshakes until the slice is spent; what each takes shows only once it was handed to OpenSSL. */
  private slice(): void {
    this.takeOver();
    this.sliceSpentMs = 0;
    this.nextOfSlice();
  }

  private readonly nextOfSlice = (): void => {
    const entry = this.sliceSpentMs >= this.limits.sliceMs ? null : this.nextInTurn();
    if (entry === null) {
      this.pauseOrEnd();
      return;
    }
    const startedMs = performance.now();
    this.begin(entry);
    // Behind the tick in which the socket hands what was read to OpenSSL.
    process.nextTick(() => {
      this.sliceSpentMs += performance.now() - startedMs;
      this.nextOfSlice();
    });
  };

  /** Others get twice as long as the slice took. */
  private pauseOrEnd(): void {
    if (this.turns.length === 0 || this.underWay >= this.limits.underWay) {
      this.isPumping = false;
      return;
    }
    const waitMs = this.sliceSpentMs === 0 ? PACE_MS : 2 * this.sliceSpentMs;
    setTimeout(() => {
      this.isPumping = false;
      this.pump();
    }, waitMs);
  }

  private nextInTurn(): Pending | null {
    const nowMs = performance.now();
    let looks = this.turns.length;
    while (looks > 0 && this.turns.length > 0 && this.underWay < this.limits.underWay) {
      const address = this.turns.take() as string;
      if (!this.pace.allows(address, nowMs) || !this.hasRoomFor(address, nowMs)) {
        this.turns.push(address);
        looks--;
        continue;
      }
      const queue = this.queues.get(address) as RingQueue<Pending>;
      const entry = queue.take();
      if (queue.length > 0) this.turns.push(address);
      else this.queues.delete(address);
      if (entry === undefined || entry.isGone) continue;
      if (entry.raw.readable) return entry;
      this.refuse(entry, 'hang-up', HANG_UP);
    }
    return null;
  }

  /**
   * Every handshake uses the options of the moment. Not by SNICallback, which clients that dial an address do not reach.
   * A new context has new keys for tickets, so that nobody gets in by a session of before.
   */
  private takeOver(): void {
    const now = this.settings.current?.();
    if (now === undefined || now === this.lastOptions) return;
    this.lastOptions = now;
    try {
      this.server.setSecureContext(secureContextOptions(now));
    } catch (error) {
      process.emitWarning(`TLS options not taken over: ${(error as Error).message}`);
    }
  }

  private begin(entry: Pending): void {
    const { raw } = entry;
    entry.isUnderWay = true;
    entry.sinceMs = performance.now();
    this.underWay++;
    this.underWayOf.set(entry.address, (this.underWayOf.get(entry.address) ?? 0) + 1);
    this.pace.began(entry.address, entry.sinceMs);
    this.hellos.leave(entry.address, entry, entry.sinceMs);
    raw.removeAllListeners('readable');
    raw.setNoDelay(true);
    raw.unshift(entry.hello[0] as Buffer);
    entry.hello = [];
    ENTRIES.set(raw, entry);
    // Whoever ends its side before it is in has left.
    raw.allowHalfOpen = false;
    this.server.emit('connection', raw);
  }

  // ── outcome ───────────────────────────────────────────────────────────────────────────────────────────────────────

  private async shaken(socket: tls.TLSSocket): Promise<void> {
    const entry = entryOf(socket);
    if (entry === undefined || entry.isGone) {
      socket.destroy();
      return;
    }
    const { checkClient } = this.lastOptions ?? this.settings;
    const certificate = checkClient === undefined || !socket.authorized ? null : certificateOf(socket);
    if (checkClient !== undefined && certificate !== null) {
      let outcome = checkClient(certificate, entry.remote);
      if (outcome instanceof Promise) {
        socket.on('error', ignore);
        outcome = await outcome;
        socket.off('error', ignore);
      }
      if (entry.isGone) return;
      if (outcome !== null) {
        this.tell(entry, 'not-allowed', outcome, socket);
        this.leave(entry);
        socket.destroy();
        return;
      }
    }
    this.leave(entry);
    socket.allowHalfOpen = true;
    this.watcher?.agreed(entry.remote, agreementOf(socket));
    entry.isUnasked = true;
    if (this.pace.shaken(entry.address, performance.now())) this.watcher?.slowed?.(entry.remote);
    this.accept(socket, () => this.asked(entry));
  }

  private asked(entry: Pending): void {
    if (!entry.isUnasked) return;
    entry.isUnasked = false;
    this.pace.asked(entry.address, performance.now());
  }

  private failed(error: Error, socket: tls.TLSSocket): void {
    const entry = entryOf(socket);
    if (entry !== undefined && !entry.isGone) {
      const [refusal, reason] = refusalOf(error, socket);
      this.tell(entry, refusal, reason, socket);
      this.leave(entry);
    }
    socket.destroy();
  }

  private refuse(entry: Pending, refusal: HandshakeRefusal, error: Error): void {
    this.tell(entry, refusal, error);
    this.leave(entry);
    if (refusal === 'not-tls') entry.raw.destroySoon();
    else entry.raw.destroy();
  }

  private tell(entry: Pending, refusal: HandshakeRefusal, error: Error, socket?: tls.TLSSocket): void {
    if (entry.isUnderWay) this.pace.failed(entry.address);
    const serverName = (socket as { readonly servername?: string | false | null } | undefined)?.servername;
    this.watcher?.refused(entry.remote, typeof serverName === 'string' ? serverName : '', refusal, error);
  }

  /** The connection is closed; who had not got through hung up. */
  private gone(entry: Pending): void {
    if (entry.isUnasked) {
      entry.isUnasked = false;
      this.pace.endedUnasked(entry.address, performance.now());
    }
    if (entry.isGone) return;
    if (entry.isUnderWay && !entry.isClosed) {
      // The reason, if there is another, is told right behind this.
      entry.isClosed = true;
      setImmediate(() => this.gone(entry));
      return;
    }
    this.tell(entry, 'hang-up', HANG_UP);
    this.leave(entry);
  }

  private leave(entry: Pending): void {
    entry.isGone = true;
    entry.hello = [];
    this.hellos.leave(entry.address, entry, performance.now());
    this.all.delete(entry);
    countDown(this.ofAddress, entry.address);
    if (entry.isUnderWay) {
      this.underWay--;
      countDown(this.underWayOf, entry.address);
      this.pump();
    }
  }

  private sweep(): void {
    if (!this.isRefusing) this.refuseLate();
    this.pace.sweep(performance.now());
    this.pump();
    if (this.all.size > 0 || this.sweeper === null) return;
    clearInterval(this.sweeper);
    this.sweeper = null;
  }

  private readonly refuseLate = (): void => {
    const nowMs = performance.now();
    const late = this.hellos.overdue(nowMs);
    for (const entry of this.all) {
      // Whoever waits for a turn is held up by us.
      if (entry.sinceMs < nowMs - this.limits.timeoutMs && entry.isHeard && (entry.isUnderWay || !this.isQueued(entry)))
        late.push(entry);
    }
    for (const entry of late.slice(0, REFUSED_AT_ONCE)) {
      if (!entry.isGone) this.refuse(entry, 'timeout', TIMEOUT);
    }
    this.isRefusing = late.length > REFUSED_AT_ONCE;
    if (this.isRefusing) setImmediate(this.refuseLate);
  };

  private isQueued(entry: Pending): boolean {
    const hello = entry.hello[0];
    return (
      hello !== undefined &&
      hello.length >= RECORD_HEADER_BYTES &&
      hello.length >= RECORD_HEADER_BYTES + hello.readUInt16BE(3)
    );
  }

  /** Whoever is not through is disconnected. */
  close(): void {
    for (const entry of [...this.all]) {
      this.leave(entry);
      entry.raw.destroy();
    }
    if (this.sweeper !== null) clearInterval(this.sweeper);
    this.sweeper = null;
  }
}

const OVERLOAD = new Error('too many handshakes are under way');
const TIMEOUT = new Error('tls: handshake took too long');
const NOT_TLS = new Error('tls: first record does not look like a TLS handshake');
const RECORD_TOO_LONG = new Error('tls: oversized record received');
const HANG_UP = new Error('EOF');

function ignore(): void {}

function countDown(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 1) - 1;
  if (left > 0) counts.set(name, left);
  else counts.delete(name);
}

/** Connections whose handshake was begun, by the socket below that of TLS. */
const ENTRIES = new WeakMap<object, Pending>();

/** node's TLSSocket keeps the socket it was made of. */
function entryOf(socket: tls.TLSSocket): Pending | undefined {
  const parent = (socket as unknown as { readonly _parent?: object | null })._parent;
  return parent === null || parent === undefined ? undefined : ENTRIES.get(parent);
}

/** The kind of failure, and the words for it. */
function refusalOf(error: Error, socket: tls.TLSSocket): [HandshakeRefusal, Error] {
  const verdict = socket.authorizationError as unknown;
  if (verdict !== null && verdict !== undefined) {
    const text = verdict instanceof Error ? verdict.message : String(verdict);
    return ['bad-certificate', new Error(`tls: failed to verify certificate: ${text}`)];
  }
  const code = 'code' in error ? String(error.code) : '';
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') {
    return ['no-certificate', new Error("tls: client didn't provide a certificate")];
  }
  if (code === 'ECONNRESET' || code === 'EPIPE' || code.endsWith('UNEXPECTED_EOF_WHILE_READING'))
    return ['hang-up', HANG_UP];
  if (/ALERT_(BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_)/.test(code)) return ['bad-certificate', plain(error)];
  return ['protocol', plain(error)];
}

/** OpenSSL's reason without its file and line. */
function plain(error: Error): Error {
  const reason = (error as { readonly reason?: string }).reason ?? /routines:[^:]*:([^:]+):/.exec(error.message)?.[1];
  return reason === undefined ? error : new Error(`tls: ${reason}`);
}

function joinPort(host: string, port: number | undefined): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
