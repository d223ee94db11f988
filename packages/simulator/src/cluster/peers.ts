import { EMPTY, errorFrom, type Prng, type U64, u64ToHex } from '@etsd/base';
import { Message, MessageType } from '@etsd/proto';
import type { HttpTransportOptions, OutgoingSnapshot, RequestCallback } from '@etsd/replication';
import type { Socket, Timer, World } from '@etsd/runtime';
import type { Life, SimLan, SimMachine } from '@etsd/runtime/sim';
import type { PeerEdge, PeerLinks } from '@etsd/server';
import type { NetworkPlan } from '../run/plan.ts';
import type { Observer } from './observer.ts';
import { askPeer, serveRequest } from './peer-http.ts';

/** How often members look whether their connections stand, in milliseconds. */
const SWEEP_MS = 250;
/** A connection that carries nothing is given up after so long. */
const SILENCE_MS = 5000;
/** What meets a cut link is sent again this much later. */
const RETRY_MS = 50;
/** A snapshot that did not arrive by then never will. */
const SNAPSHOT_MS = 20_000;
/** Above what is drawn for a message, for each piece of a snapshot. */
const PIECE_MS = 2;

/** The members that run now, and how messages among them fare. */
export class PeerNet {
  readonly lan: SimLan;
  readonly prng: Prng;
  readonly observer: Observer;
  readonly plan: NetworkPlan;
  /** Loss while a storm lasts; in calm times no message is lost. */
  stormRate = 0;
  isCalm = false;
  /** By the name of the machine. */
  private readonly running = new Map<string, SimPeers>();

  constructor(lan: SimLan, prng: Prng, plan: NetworkPlan, observer: Observer) {
    this.lan = lan;
    this.prng = prng;
    this.plan = plan;
    this.observer = observer;
  }

  add(peers: SimPeers): void {
    this.running.set(peers.machine, peers);
  }

  /** The process on this machine is gone. */
  gone(machine: string): void {
    this.running.delete(machine);
  }

  at(machine: string): SimPeers | undefined {
    return this.running.get(machine);
  }

  get lossRate(): number {
    return this.isCalm ? 0 : Math.max(this.plan.lossRate, this.stormRate);
  }

  get copyRate(): number {
    return this.isCalm ? 0 : this.plan.copyRate;
  }

  delayMs(): number {
    const { latencyMinMs, latencyMaxMs } = this.plan;
    return latencyMinMs + this.prng.float() * (this.isCalm ? 1 : latencyMaxMs - latencyMinMs);
  }
}

class Link {
  readonly id: U64;
  machine: string;
  activeSince: number | null = null;
  /** Since when nothing comes through; 0 while something does. */
  cutSinceMs = 0;
  lastArrivalMs = 0;
  isSendingSnapshot = false;
  /** What is to go out together; null between two calls of `send`. */
  bundle: Buffer[] | null = null;

  constructor(id: U64, urls: readonly string[]) {
    this.id = id;
    this.machine = machineOf(urls);
  }
}

/** In a simulated world the name of a machine is its address. */
function machineOf(urls: readonly string[]): string {
  return /^http:\/\/([^:/]+)/.exec(urls[0] ?? '')?.[1] ?? '';
}

/** What HTTP between members is in the real world: messages that may be lost, doubled, delayed and overtaken. */
export class SimPeers implements PeerLinks {
  readonly machine: string;
  private readonly net: PeerNet;
  private readonly world: World;
  private readonly life: Life;
  private readonly options: HttpTransportOptions;
  private readonly links = new Map<U64, Link>();
  private readonly remotes = new Map<U64, Link>();
  private readonly sweeper: Timer;
  private isClosed = false;

  constructor(net: PeerNet, { world, currentLife, name }: SimMachine, options: HttpTransportOptions) {
    this.net = net;
    this.world = world;
    this.life = currentLife;
    this.machine = name;
    this.options = options;
    this.sweeper = world.timers.every(SWEEP_MS, this.sweep);
    net.add(this);
  }

  // ── members ───────────────────────────────────────────────────────────────────────────────────────────────────────

  addPeer(id: U64, urls: readonly string[]): void {
    if (this.links.has(id)) return;
    this.remotes.delete(id);
    this.links.set(id, new Link(id, urls));
  }

  addRemote(id: U64, urls: readonly string[]): void {
    if (id !== this.options.memberId && !this.links.has(id)) this.remotes.set(id, new Link(id, urls));
  }

  updatePeer(id: U64, urls: readonly string[]): void {
    const link = this.links.get(id);
    if (link !== undefined) link.machine = machineOf(urls);
  }

  removePeer(id: U64): void {
    this.links.delete(id);
  }

  activeSince(id: U64): number | null {
    return this.links.get(id)?.activeSince ?? null;
  }

  private readonly sweep = (): void => {
    const nowMs = this.world.clock.nowMs();
    for (const link of this.links.values()) {
      const { lan } = this.net;
      const other = this.net.at(link.machine);
      const stands = other !== undefined && other.options.memberId === link.id;
      const isCut = lan.isCut(this.machine, link.machine) || lan.isCut(link.machine, this.machine);
      if (!isCut) link.cutSinceMs = 0;
      else if (link.cutSinceMs === 0) link.cutSinceMs = nowMs;
      if (stands && !isCut) {
        link.activeSince ??= nowMs;
        other.heardFrom(this.options.memberId, this.options.ownPeerUrls);
      } else if (link.activeSince !== null && (!stands || nowMs - link.cutSinceMs > SILENCE_MS)) {
        link.activeSince = null;
        this.options.host.reportUnreachable(link.id);
      }
    }
  };

  /** Another member keeps a connection here: it may be one that is not known yet, or none any more. */
  private heardFrom(id: U64, urls: readonly string[]): void {
    if (this.options.host.isRemoved(id)) {
      const sender = this.net.at(machineOf(urls));
      sender?.later(this.net.delayMs(), () => {
        if (!sender.isClosed) sender.options.host.removed();
      });
    } else if (!this.links.has(id)) this.addRemote(id, urls);
  }

  /** When so much time has passed in the world, whatever this machine's clock shows, if the process still runs then. */
  private later(ms: number, callback: () => void): void {
    this.net.lan.simulation.schedule(ms, this.life, callback);
  }

  // ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────

  send(messages: readonly Message[]): void {
    if (this.isClosed) return;
    const { memberId } = this.options;
    const filled: Link[] = [];
    let copyable = true;
    for (const message of messages) {
      if (message.type === MessageType.MsgApp) this.net.observer.appends(message);
      if (message.type === MessageType.MsgApp || message.type === MessageType.MsgHeartbeat) {
        this.net.observer.leads(memberId, message.term);
      }
      const link = this.links.get(message.to) ?? this.remotes.get(message.to);
      if (link === undefined) continue;
      if (message.type === MessageType.MsgSnap) {
        void this.sendSnapshot(link, message);
        continue;
      }
      // A proposal twice would be two proposals; streams do not do that.
      if (message.type === MessageType.MsgProp) copyable = false;
      if (link.bundle === null) {
        link.bundle = [];
        filled.push(link);
      }
      link.bundle.push(Message.encode(message));
    }
    const { net } = this;
    for (const link of filled) {
      const bundle = link.bundle as Buffer[];
      link.bundle = null;
      if (net.prng.chance(net.lossRate)) this.lost(link);
      else this.post(link, bundle);
      if (copyable && net.prng.chance(net.copyRate)) this.post(link, bundle);
    }
  }

  /** Raft may be told, as when a connection breaks, or not, as when bytes are dropped on the way. */
  private lost({ id }: Link): void {
    if (this.net.prng.chance(0.5)) return;
    this.world.timers.endOfTurn(() => {
      if (!this.isClosed) this.options.host.reportUnreachable(id);
    });
  }

  private post(link: Link, bundle: readonly Buffer[]): void {
    const { net } = this;
    const target = net.at(link.machine);
    if (target === undefined || target.options.memberId !== link.id) {
      this.lost(link);
      return;
    }
    const nowMs = net.lan.simulation.nowMs;
    let atMs = nowMs + net.delayMs() + net.lan.links.extraMs(this.machine, link.machine);
    const isOvertaking = !net.isCalm && net.prng.chance(net.plan.reorderRate);
    if (!isOvertaking) {
      atMs = Math.max(atMs, link.lastArrivalMs);
      link.lastArrivalMs = atMs;
    }
    target.later(atMs - nowMs, () => target.arrive(this.machine, bundle, nowMs));
  }

  private arrive(from: string, bundle: readonly Buffer[], sentMs: number): void {
    const { lan, prng } = this.net;
    if (this.isClosed) return;
    if (lan.isCut(from, this.machine)) {
      // Lost with its connection, or kept by the sender's system until the wire is whole again.
      const isOld = lan.simulation.nowMs - sentMs > SILENCE_MS;
      if (isOld || prng.chance(0.1)) return;
      this.later(RETRY_MS, () => this.arrive(from, bundle, sentMs));
      return;
    }
    for (const bytes of bundle) this.step(Message.decode(bytes));
  }

  private step(message: Message): void {
    const { host, memberId } = this.options;
    if (message.to === memberId && !host.isRemoved(message.from)) host.step(message);
  }

  // ── snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────

  private async sendSnapshot(link: Link, message: Message): Promise<void> {
    const { source, host, logger } = this.options;
    let failure = 'this member cannot make snapshots';
    if (link.isSendingSnapshot) failure = 'another snapshot is under way';
    else if (source !== null) {
      link.isSendingSnapshot = true;
      try {
        failure = await this.transfer(link, await source.open(message));
      } catch (error) {
        failure = errorFrom(error).message;
      }
      link.isSendingSnapshot = false;
    }
    const outcome = failure === '' ? 'sent database snapshot' : 'failed to send database snapshot';
    logger.log(failure === '' ? 'info' : 'warn', outcome, { 'remote-peer-id': u64ToHex(link.id), error: failure });
    this.world.timers.endOfTurn(() => {
      if (this.isClosed) return;
      if (failure !== '') host.reportUnreachable(link.id);
      host.reportSnapshot(link.id, failure !== '');
    });
  }

  private async transfer(link: Link, outgoing: OutgoingSnapshot): Promise<string> {
    const pieces: Buffer[] = [];
    const message = Message.encode(outgoing.message);
    try {
      for (let piece = await outgoing.read(); piece !== null; piece = await outgoing.read()) pieces.push(piece);
    } finally {
      outgoing.close();
    }
    const { net, world } = this;
    const target = net.at(link.machine);
    if (target === undefined || target.options.memberId !== link.id) return 'nobody is there';
    return await new Promise((resolve) => {
      const timer = world.timers.after(SNAPSHOT_MS, () => resolve('no answer in time'));
      const answered = (failure: string): void => {
        this.later(net.delayMs(), () => {
          timer.cancel();
          resolve(failure);
        });
      };
      const delayMs = net.delayMs() + PIECE_MS * pieces.length;
      target.later(delayMs, () => void target.receiveSnapshot(this.machine, message, pieces, answered));
    });
  }

  private async receiveSnapshot(
    from: string,
    bytes: Buffer,
    pieces: readonly Buffer[],
    answered: (failure: string) => void,
  ): Promise<void> {
    const { sink } = this.options;
    const { lan, lossRate, prng } = this.net;
    if (this.isClosed || sink === null || lan.isCut(from, this.machine) || prng.chance(lossRate)) {
      answered('the connection broke');
      return;
    }
    const message = Message.decode(bytes);
    try {
      await sink.receive(message, onePieceAtATime(pieces));
      this.step(message);
      answered('');
    } catch (error) {
      answered(errorFrom(error).message);
    }
  }

  // ── questions ─────────────────────────────────────────────────────────────────────────────────────────────────────

  handle(): boolean {
    return false;
  }

  accept(socket: Socket, edge: PeerEdge): void {
    serveRequest(socket, edge);
  }

  request(
    member: U64,
    method: string,
    path: string,
    body: Buffer | null,
    contentType: string,
    timeoutMs: number,
    done: RequestCallback,
  ): void {
    const { network, timers } = this.world;
    const link = this.links.get(member);
    if (link === undefined || this.isClosed) {
      timers.endOfTurn(() => done(new Error('unknown member'), 0, EMPTY));
      return;
    }
    const socket = network.dial({ host: link.machine, port: 2380 }, { connectTimeoutMs: timeoutMs });
    const headers = { 'X-Etcd-Cluster-ID': u64ToHex(this.options.clusterId), 'Content-Type': contentType };
    const giveUp = askPeer(socket, { method, path, headers, body: body ?? EMPTY }, (error, status, answer) => {
      timer.cancel();
      done(error, status, answer);
    });
    const timer = timers.after(timeoutMs, () => giveUp(new Error('no answer in time')));
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.sweeper.cancel();
    if (this.net.at(this.machine) === this) this.net.gone(this.machine);
  }
}

async function* onePieceAtATime(pieces: readonly Buffer[]): AsyncIterable<Buffer> {
  for (const piece of pieces) yield piece;
}
