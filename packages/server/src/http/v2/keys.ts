import { u64FromHalves, u64ToHex } from '@etsd/base';
import { ErrNoSpace, ErrRequestTooLarge, type EtcdError, V2Request } from '@etsd/proto';
import { eventJson, V2Event, V2Failure } from '@etsd/state';
import type { ApiWaiter, MemberContext } from '../../context.ts';
import { STORE_BACKLOG_BYTES_MAX } from '../../limits.ts';
import type { Quota } from '../../quota.ts';
import type { WebExchange } from '../web-exchange.ts';
import { JSON_TYPE, respondV2Error, V2Error } from './errors.ts';
import { percentDecode, readForm } from './form.ts';
import { type KeyRequest, readKeyRequest } from './key-request.ts';
import { nodeJson } from './render.ts';
import type { V2Question } from './v2-api.ts';
import type { V2Watcher, V2WatchHub } from './watch-hub.ts';

/** How long somebody waits for a change before he has to ask again; as in etcd. */
const WATCH_MS = 5 * 60_000;
/** Who waits, at a time. */
const WATCHERS_MAX = 65_536;
/** What may wait for somebody who watches and does not read. */
const WATCH_BACKLOG_BYTES_MAX = 1024 * 1024;
/** What a node costs beside its path and value, its event included. */
const NODE_COST_BYTES = 512;

export interface V2KeysParts {
  readonly context: MemberContext;
  readonly quota: Quota;
  readonly hub: V2WatchHub;
}

/** `/v2/keys`. */
export class V2Keys {
  private readonly parts: V2KeysParts;
  private readonly clusterHeader: readonly string[];

  constructor(parts: V2KeysParts) {
    this.parts = parts;
    this.clusterHeader = ['X-Etcd-Cluster-Id', u64ToHex(parts.context.clusterId)];
  }

  serve(question: V2Question): void {
    const { exchange } = question;
    const headers = [...question.headers, ...this.clusterHeader];
    if (exchange.method !== 'PUT' && exchange.method !== 'POST') {
      this.run(question, headers, NOTHING);
      return;
    }
    exchange.readBody(this.parts.context.limits.maxRequestBytes * 3 + 65_536, (body) => {
      if (body === null) respondV2Error(exchange, headers, new V2Error(210, 'http: request body too large'));
      else this.run(question, headers, body);
    });
  }

  private run(question: V2Question, headers: readonly string[], body: Buffer): void {
    const { exchange, query } = question;
    const { world } = this.parts.context;
    try {
      const form = readForm(exchange.method, query, exchange.header('content-type') ?? '', body);
      const path = keyOf(exchange.target);
      const request = readKeyRequest(exchange.method, path, form, world.clock.wallMs());
      // Who asks the majority is not made to wait, whatever else he asks.
      if (request.isWait && !request.isQuorum) this.watch(question, headers, request);
      else if (exchange.method === 'GET' || exchange.method === 'HEAD') this.read(exchange, headers, request);
      else this.write(exchange, headers, request);
    } catch (error) {
      if (!(error instanceof V2Error)) throw error;
      respondV2Error(exchange, headers, error);
    }
  }

  /** Headers that say where the tree and the log are. */
  private positions(index: number): string[] {
    const { replication } = this.parts.context;
    return [
      ...JSON_TYPE,
      ...['X-Etcd-Index', String(index)],
      ...['X-Raft-Index', String(replication.appliedIndex)],
      ...['X-Raft-Term', String(replication.term)],
    ];
  }

  private read(exchange: WebExchange, headers: readonly string[], request: KeyRequest): void {
    const { context } = this.parts;
    const { world, replication, state, quarantine } = context;
    const answer = (): void => {
      if (quarantine.refusal !== null) return fail(quarantine.refusal);
      const node = state.v2.get(request.path, request.isRecursive);
      if (node instanceof V2Failure) {
        respondV2Error(exchange, headers, V2Error.of(node));
        return;
      }
      const json = `{"action":"get","node":${nodeJson(node, request.isRecursive, world.clock.wallMs())}}\n`;
      exchange.respond(200, [...headers, ...this.positions(state.v2.index)], json);
    };
    const fail = (error: EtcdError): void => respondV2Error(exchange, headers, new V2Error(300, error.message));
    if (request.isQuorum) replication.readBarrier({ done: answer, fail });
    else answer();
  }

  private write(exchange: WebExchange, headers: readonly string[], request: KeyRequest): void {
    const fail = (error: EtcdError): void => respondV2Error(exchange, headers, new V2Error(300, error.message));
    this.propose(request.entry, {
      fail,
      done: (outcome) => {
        if (outcome instanceof V2Event) {
          const isShort = request.isValueLeftOut && SHORT.includes(outcome.action);
          const json = isShort ? `{"action":"${outcome.action}"}` : eventJson(outcome);
          const status = outcome.hasCreated ? 201 : 200;
          exchange.respond(status, [...headers, ...this.positions(outcome.index)], `${json}\n`);
        } else if (outcome instanceof V2Failure) {
          respondV2Error(exchange, headers, V2Error.of(outcome));
        } else exchange.abort();
      },
    });
  }

  /** Puts the request into the log; what adds something, only where there is room for it. */
  private propose(entry: V2Request, waiter: ApiWaiter): void {
    const { context, quota } = this.parts;
    const { backend, replication, limits, quarantine, state } = context;
    if (quarantine.refusal !== null) return waiter.fail(quarantine.refusal);
    const isAdding = entry.method !== 'DELETE';
    const isFull = backend.isOutOfSpace && backend.pendingBytes > STORE_BACKLOG_BYTES_MAX;
    if (isFull || (isAdding && state.alarms.noSpace)) return waiter.fail(ErrNoSpace);
    const { high, low } = replication.nextRequestId();
    entry.ID = u64FromHalves(high, low);
    const data = V2Request.encode(entry);
    if (data.length > limits.maxRequestBytes) return waiter.fail(ErrRequestTooLarge);
    if (isAdding && !quota.admits(data.length * 2 + NODE_COST_BYTES)) quota.raise(waiter);
    else replication.propose(data, waiter);
  }

  private watch({ exchange, refusal }: V2Question, headers: readonly string[], request: KeyRequest): void {
    const { context, hub } = this.parts;
    const { state, world, quarantine } = context;
    if (quarantine.refusal !== null) throw new V2Error(300, quarantine.refusal.message);
    if (hub.size >= WATCHERS_MAX) throw new V2Error(300, 'too many requests wait for changes');
    const { index } = state.v2;
    const since = request.waitIndex === 0 ? index + 1 : request.waitIndex;
    const outdated = since <= index ? state.v2.history.find(request.path, request.isRecursive, since) : null;
    if (outdated instanceof V2Failure) throw new V2Error(outdated.code, outdated.cause, index);
    exchange.begin(200, [...headers, ...this.positions(index)]);
    exchange.flush();
    const watcher = new WaitingClient(exchange, request, since, refusal);
    const timer = world.timers.after(WATCH_MS, () => {
      hub.remove(watcher);
      watcher.end();
    });
    watcher.ended = () => timer.cancel();
    exchange.onGone = () => {
      timer.cancel();
      hub.remove(watcher);
    };
    state.v2.stats.watches++;
    hub.add(watcher);
  }
}

/** One request that waits. */
class WaitingClient implements V2Watcher {
  readonly key: string;
  readonly isRecursive: boolean;
  readonly isStream: boolean;
  since: number;
  ended: (() => void) | null = null;
  private readonly exchange: WebExchange;
  private readonly refusal: () => string | null;

  constructor(exchange: WebExchange, request: KeyRequest, since: number, refusal: () => string | null) {
    this.exchange = exchange;
    this.key = request.path;
    this.isRecursive = request.isRecursive;
    this.isStream = request.isStream;
    this.since = since;
    this.refusal = refusal;
  }

  tell(json: string): boolean {
    const { exchange } = this;
    // What he was allowed when he began to wait he may not be any more.
    if (!exchange.isOpen || this.refusal() !== null || exchange.queuedBytes > WATCH_BACKLOG_BYTES_MAX) return false;
    exchange.write(json);
    return true;
  }

  end(): void {
    this.ended?.();
    this.exchange.end();
  }
}

const NOTHING = Buffer.alloc(0);
/** Actions that can be answered without the node. */
const SHORT: readonly string[] = ['create', 'set', 'update', 'compareAndSwap'];

/** The key a target names, from the root of the keys. */
function keyOf(target: string): string {
  const at = target.indexOf('/v2/keys');
  const mark = target.indexOf('?');
  const rest = target.slice(at + '/v2/keys'.length, mark < 0 ? undefined : mark);
  const parts = percentDecode(rest)
    .split('/')
    .filter((part) => part !== '');
  return `/${parts.join('/')}`;
}
