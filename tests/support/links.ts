import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * The wires between the members of a cluster, so that single ones can be cut, in one direction too. Each member
 * advertises a port of ours in place of its own. Since it tells all others the same address, who dialled is looked up
 * per connection in the system's list of sockets, which only Linux shows; elsewhere nothing is ever cut.
 */
export class Links {
  private readonly ends = new Map<string, { server: Server; port: number; target: number }>();
  private readonly rules = new Map<string, Rule>();
  private readonly pipes = new Set<Pipe>();
  private readonly sockets = new Set<Socket>();
  /** Answers the process id of a member, 0 when it does not run. */
  private readonly processOf: (member: string) => number;
  /** Connections whose sender was found, and those of nobody known, which are never cut. */
  found = 0;
  unknown = 0;

  constructor(processOf: (member: string) => number) {
    this.processOf = processOf;
  }

  /** Puts a port in front of a member's own; returns it. */
  async add(member: string, target: number): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.accept(member, socket));
    const port = await new Promise<number>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    this.ends.set(member, { server, port, target });
    return port;
  }

  /** Bytes from one member to the other stop. `refuse`: connections break as well, and new ones are refused. */
  cut(from: string, to: string, refuse: boolean): void {
    const rule = this.rule(from, to);
    rule.isCut = true;
    rule.refuses = refuse;
    if (!refuse) return;
    for (const pipe of this.pipes) if (pipe.rule === rule) pipe.destroy();
  }

  /** Bytes from one member to the other arrive so much later. */
  delay(from: string, to: string, ms: number): void {
    this.rule(from, to).delayMs = ms;
  }

  /** Everything flows again; what was on its way arrives. */
  heal(): void {
    for (const rule of this.rules.values()) {
      rule.isCut = false;
      rule.refuses = false;
      rule.delayMs = 0;
    }
    for (const pipe of this.pipes) pipe.pump();
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await Promise.all([...this.ends.values()].map(({ server }) => new Promise((resolve) => server.close(resolve))));
  }

  private rule(from: string, to: string): Rule {
    const key = `${from} ${to}`;
    let rule = this.rules.get(key);
    if (rule === undefined) {
      rule = { isCut: false, refuses: false, delayMs: 0 };
      this.rules.set(key, rule);
    }
    return rule;
  }

  private accept(member: string, dialled: Socket): void {
    const end = this.ends.get(member) as { port: number; target: number };
    this.keep(dialled);
    const sender = this.senderOf(dialled, end.port);
    if (sender === null) this.unknown++;
    else this.found++;
    const there = sender === null ? OPEN : this.rule(sender, member);
    const back = sender === null ? OPEN : this.rule(member, sender);
    if (there.refuses || back.refuses) {
      dialled.resetAndDestroy();
      return;
    }
    const own = connect({ host: '127.0.0.1', port: end.target, allowHalfOpen: true });
    this.keep(own);
    for (const pipe of [new Pipe(dialled, own, there), new Pipe(own, dialled, back)]) {
      this.pipes.add(pipe);
      pipe.closed = () => this.pipes.delete(pipe);
    }
    dialled.resume();
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
  }

  private senderOf(socket: Socket, port: number): string | null {
    const inode = inodeOfSocket(socket.remotePort ?? 0, port);
    if (inode === null) return null;
    for (const member of this.ends.keys()) {
      const pid = this.processOf(member);
      if (pid !== 0 && ownsSocket(pid, inode)) return member;
    }
    return null;
  }
}

/** What happens to bytes of one direction. */
interface Rule {
  isCut: boolean;
  refuses: boolean;
  delayMs: number;
}

const OPEN: Rule = { isCut: false, refuses: false, delayMs: 0 };

/** How much is read on ahead while nothing gets through. */
const HELD_BYTES_MAX = 64 * 1024;

/** One direction of one connection. */
class Pipe {
  readonly rule: Rule;
  closed: () => void = () => {};
  private readonly source: Socket;
  private readonly sink: Socket;
  private held: { bytes: Buffer; due: number }[] = [];
  private heldBytes = 0;
  private timer: NodeJS.Timeout | null = null;
  private hasEnded = false;
  private isGone = false;
  private isFinished = false;

  constructor(source: Socket, sink: Socket, rule: Rule) {
    this.source = source;
    this.sink = sink;
    this.rule = rule;
    source.on('data', (bytes: Buffer) => {
      if (this.isFinished) return;
      this.held.push({ bytes, due: performance.now() + rule.delayMs });
      this.heldBytes += bytes.length;
      if (this.heldBytes > HELD_BYTES_MAX) source.pause();
      this.pump();
    });
    source.on('end', () => {
      this.hasEnded = true;
      this.pump();
    });
    // A cut wire hides also that the other side is gone.
    source.on('close', () => {
      this.isGone = true;
      this.pump();
    });
    sink.on('close', () => this.finish());
    sink.on('drain', () => this.pump());
  }

  /** Passes on what may pass now. */
  pump(): void {
    if (this.rule.isCut || this.isFinished) return;
    const now = performance.now();
    while (this.held.length > 0 && !this.sink.writableNeedDrain) {
      const [first] = this.held as [{ bytes: Buffer; due: number }];
      if (first.due > now) {
        this.wake(first.due - now);
        return;
      }
      this.held.shift();
      this.heldBytes -= first.bytes.length;
      if (this.sink.writable) this.sink.write(first.bytes);
    }
    if (this.held.length > 0) return;
    if (this.isGone) this.sink.destroy();
    else if (this.hasEnded) this.sink.end();
    else if (this.source.isPaused()) this.source.resume();
  }

  destroy(): void {
    this.source.resetAndDestroy();
    this.sink.resetAndDestroy();
  }

  private wake(ms: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.pump();
    }, ms);
  }

  /** Nobody reads any more. That the source hears of it is for the pipe of the other direction, which may be cut. */
  private finish(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.isFinished = true;
    this.held = [];
    this.closed();
  }
}

/** The system's number of the socket that dialled from one local port to another; null if it is not to be found. */
function inodeOfSocket(from: number, to: number): string | null {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');
  let table: string;
  try {
    table = readFileSync('/proc/net/tcp', 'latin1');
  } catch {
    return null;
  }
  const match = new RegExp(`[0-9A-F]{8}:${hex(from)} [0-9A-F]{8}:${hex(to)} (.*)`).exec(table);
  // Behind the two addresses: state, queues, timer, retransmits, uid, timeout, inode.
  return match?.[1]?.trim().split(/\s+/)[6] ?? null;
}

function ownsSocket(pid: number, inode: string): boolean {
  const folder = `/proc/${pid}/fd`;
  const name = `socket:[${inode}]`;
  try {
    return readdirSync(folder).some((fd) => {
      try {
        return readlinkSync(`${folder}/${fd}`) === name;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}
