import { u64FromHalves, u64ToHex } from '@etsd/base';
import { ErrNoSpace, ErrRequestTooLarge, type EtcdError, V2Request } from '@etsd/proto';
import { eventJson, shownJson, V2Event, V2Failure, type V2Node } from '@etsd/state';
import type { Guard } from '../../access.ts';
import type { SliceRunner } from '../../api/slice-runner.ts';
import type { ApiHandler, ApiWaiter, MemberContext } from '../../context.ts';
import { STORE_BACKLOG_BYTES_MAX } from '../../limits.ts';
import type { Quota } from '../../quota.ts';
import type { WebExchange } from '../web-exchange.ts';
import { JSON_TYPE, respondV2Error, V2Error } from './errors.ts';
import { percentDecode, readForm } from './form.ts';
import { KeyCall, KeyHandler, unreadChange, V2_CALLS, type V2CallKind } from './key-call.ts';
import { type KeyRequest, readKeyRequest } from './key-request.ts';
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
  readonly runner: SliceRunner;
  /** What stands before the handlers, the innermost first. */
  readonly guards: readonly Guard[];
}

/** `/v2/keys`. */
export class V2Keys {
  private readonly parts: V2KeysParts;
  private readonly clusterHeader: readonly string[];
  private readonly handlers: Readonly<Record<V2CallKind, ApiHandler>>;

  constructor(parts: V2KeysParts) {
    this.parts = parts;
    this.clusterHeader = ['X-Etcd-Cluster-Id', u64ToHex(parts.context.clusterId)];
    const guarded = (kind: V2CallKind, serve: ConstructorParameters<typeof KeyHandler>[0]): ApiHandler => {
      let handler: ApiHandler = new KeyHandler(serve);
      for (const guard of parts.guards) handler = guard.guard(V2_CALLS[kind], handler);
      return handler;
    };
    this.handlers = {
      get: guarded('get', (asked, request) => this.read(asked, request)),
      list: guarded('list', (asked, request) => this.read(asked, request)),
      wait: guarded('wait', (asked, request) => this.watch(asked, request)),
      change: guarded('change', (asked, request, bytes) => this.write(asked, request, bytes)),
    };
  }

  serve(question: V2Question): void {
    const { exchange } = question;
    const headers = [...question.headers, ...this.clusterHeader];
    const isChange = exchange.method !== 'GET' && exchange.method !== 'HEAD';
    if (question.refusal() !== null) {
      const path = keyOf(exchange.target);
      const bytes = isChange ? unreadChange(exchange.method, path) : Buffer.from(path);
      new KeyCall(this.handlers[isChange ? 'change' : 'get'], question, headers, null).run(bytes);
      return;
    }
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
    let request: KeyRequest;
    try {
      const form = readForm(exchange.method, query, exchange.header('content-type') ?? '', body);
      request = readKeyRequest(exchange.method, keyOf(exchange.target), form, world.clock.wallMs());
    } catch (error) {
      if (!(error instanceof V2Error)) throw error;
      respondV2Error(exchange, headers, error);
      return;
    }
    const kind = kindOf(exchange.method, request);
    const call = new KeyCall(this.handlers[kind], question, headers, request);
    call.run(kind === 'change' ? this.entryOf(request) : Buffer.from(request.path));
  }

  private entryOf({ entry }: KeyRequest): Buffer {
    const { high, low } = this.parts.context.replication.nextRequestId();
    entry.ID = u64FromHalves(high, low);
    return V2Request.encode(entry);
  }

  /** Headers of an answer, with where the tree and the log are. */
  private positions(headers: readonly string[], index: number): string[] {
    const { replication } = this.parts.context;
    return [
      ...headers,
      ...JSON_TYPE,
      'X-Etcd-Index',
      String(index),
      'X-Raft-Index',
      String(replication.appliedIndex),
      'X-Raft-Term',
      String(replication.term),
    ];
  }

  private read(asked: KeyCall, request: KeyRequest): void {
    const { replication, state, quarantine } = this.parts.context;
    const fail = (error: EtcdError): void => asked.refuse(error);
    const answer = (): void => {
      if (quarantine.refusal !== null) return fail(quarantine.refusal);
      const node = state.v2.get(request.path, request.isRecursive);
      if (node instanceof V2Failure) asked.fail(V2Error.of(node));
      else this.tell(asked, node, request.isRecursive);
    };
    if (request.isQuorum) replication.readBarrier({ done: answer, fail });
    else answer();
  }

  /** Answers with a node; a large directory in slices, as it was when the answer began. */
  private tell(asked: KeyCall, node: V2Node, isRecursive: boolean): void {
    const { runner, context } = this.parts;
    const { v2 } = context.state;
    const { exchange } = asked.question;
    const headers = this.positions(asked.headers, v2.index);
    const begin = '{"action":"get","node":';
    if (!node.isDir) {
      const shown = shownJson(node.show(context.world.clock.wallMs()));
      exchange.respond(200, headers, `${begin}${shown}}\n`);
      asked.done();
      return;
    }
    const reading = v2.openReading(node, isRecursive);
    if (reading.step()) {
      v2.closeReading(reading);
      exchange.respond(200, headers, `${begin}${reading.take()}}\n`);
      asked.done();
      return;
    }
    exchange.begin(200, headers);
    exchange.write(begin + reading.take());
    runner.add({
      step() {
        const isWhole = !exchange.isOpen || reading.step();
        exchange.write(reading.take());
        if (!isWhole) return false;
        v2.closeReading(reading);
        exchange.write('}\n');
        exchange.end();
        asked.done();
        return true;
      },
    });
  }

  private write(asked: KeyCall, request: KeyRequest, entry: Buffer): void {
    const { exchange } = asked.question;
    this.propose(request, entry, {
      fail: (error) => asked.refuse(error),
      done: (outcome) => {
        if (outcome instanceof V2Event) {
          const isShort = request.isValueLeftOut && SHORT.includes(outcome.action);
          const json = isShort ? `{"action":"${outcome.action}"}` : eventJson(outcome);
          const status = outcome.hasCreated ? 201 : 200;
          exchange.respond(status, this.positions(asked.headers, outcome.index), `${json}\n`);
          asked.done();
        } else if (outcome instanceof V2Failure) {
          asked.fail(V2Error.of(outcome));
        } else exchange.abort();
      },
    });
  }

  /** Puts the request into the log; what adds something, only where there is room for it. */
  private propose({ entry }: KeyRequest, data: Buffer, waiter: ApiWaiter): void {
    const { context, quota } = this.parts;
    const { backend, replication, limits, quarantine, state } = context;
    if (quarantine.refusal !== null) return waiter.fail(quarantine.refusal);
    const isAdding = entry.method !== 'DELETE';
    const isFull = backend.isOutOfSpace && backend.pendingBytes > STORE_BACKLOG_BYTES_MAX;
    if (isFull || (isAdding && state.alarms.noSpace)) return waiter.fail(ErrNoSpace);
    if (data.length > limits.maxRequestBytes) return waiter.fail(ErrRequestTooLarge);
    if (isAdding && !quota.admits(data.length * 2 + NODE_COST_BYTES)) quota.raise(waiter);
    else replication.propose(data, waiter);
  }

  private watch(asked: KeyCall, request: KeyRequest): void {
    const { context, hub } = this.parts;
    const { state, world, quarantine } = context;
    const { exchange, refusal } = asked.question;
    if (quarantine.refusal !== null) throw new V2Error(300, quarantine.refusal.message);
    if (hub.size >= WATCHERS_MAX) throw new V2Error(300, 'too many requests wait for changes');
    const { index } = state.v2;
    const since = request.waitIndex === 0 ? index + 1 : request.waitIndex;
    const outdated = since <= index ? state.v2.history.find(request.path, request.isRecursive, since) : null;
    if (outdated instanceof V2Failure) throw new V2Error(outdated.code, outdated.cause, index);
    exchange.begin(200, this.positions(asked.headers, index));
    exchange.flush();
    // Waiting costs nothing more: as a call it is over.
    asked.done();
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

function kindOf(method: string, { isWait, isQuorum, isRecursive }: KeyRequest): V2CallKind {
  if (method !== 'GET' && method !== 'HEAD') return 'change';
  // Who asks the majority is not made to wait, whatever else he asks.
  if (isWait && !isQuorum) return 'wait';
  return isRecursive ? 'list' : 'get';
}

/** One request that waits. */
class WaitingClient implements V2Watcher {
  readonly key: string;
  readonly isRecursive: boolean;
  readonly isStream: boolean;
  since: number;
  ended: (() => void) | null = null;
  private readonly exchange: WebExchange;
  private readonly refusal: V2Question['refusal'];

  constructor(exchange: WebExchange, request: KeyRequest, since: number, refusal: V2Question['refusal']) {
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
  const path = percentDecode(rest);
  // Without empty parts.
  return `/${path.replaceAll(/\/{2,}/g, '/').replaceAll(/^\/|\/$/g, '')}`;
}
