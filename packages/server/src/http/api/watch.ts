/** Changes as they happen: server-sent events (HTML Living Standard §9.2), or answers that wait for the next change. */
import {
  EtcdError,
  type Event,
  EventType,
  GrpcCode,
  WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from '@etsd/proto';
import { InProcessCall } from '../gateway/in-process-call.ts';
import { WATCH_PATH } from './methods.ts';
import { badRequest, Problem } from './problem.ts';
import type { Question } from './question.ts';
import { showKey } from './render.ts';
import { type KeySpan, REVISION_MAX, spanOf, wantsBase64 } from './span.ts';

/** Silence of a stream after which it shows that it is alive: shorter than proxies wait. */
const ALIVE_MS = 15_000;
/** What a client is told to wait before it comes back. */
const RETRY_MS = 1000;
/** Longest that an answer may be waited for. */
export const WAIT_SECONDS_MAX = 300;

/** What a watch tells of. */
interface WatchListener {
  readonly queuedBytes: () => number;
  created(revision: number): void;
  /** All changes of one or several whole revisions, in order. */
  changed(events: readonly Event[]): void;
  progressed(revision: number): void;
  failed(problem: Error): void;
}

/** What is wanted of a watch. */
interface WatchWish extends KeySpan {
  /** First revision to be told of; 0 for what comes from now on. */
  readonly startRevision: number;
  readonly prevKv: boolean;
}

/** A watch in the name of whoever asks. It ends when the client leaves, or by `cancel`. */
function openWatch(question: Question, wish: WatchWish, listener: WatchListener): InProcessCall {
  const { handlerOf, credentials, onCancel } = question.caller;
  const handler = handlerOf(WATCH_PATH);
  if (handler === undefined) throw new Problem(501, 'unimplemented', 'watches are not served here');
  let parts: Buffer[] = [];
  let missing = 0;
  const take = (bytes: Buffer): void => {
    const response = WatchResponse.decode(bytes);
    if (response.canceled) {
      made.cancel();
      listener.failed(refusalOf(response));
    } else if (response.created) listener.created(response.header?.revision ?? 0);
    else if (response.events.length > 0) listener.changed(response.events);
    else listener.progressed(response.header?.revision ?? 0);
  };
  const made: InProcessCall = new InProcessCall(handler, {
    get queuedBytes() {
      return listener.queuedBytes();
    },
    peerCommonName: credentials.peerCommonName,
    peer: credentials.peer,
    header: (name) => credentials.header(name),
    message: take,
    partsBegin(totalBytes) {
      parts = [];
      missing = totalBytes;
    },
    part(bytes) {
      parts.push(Buffer.from(bytes));
      missing -= bytes.length;
      if (missing === 0) take(Buffer.concat(parts));
    },
    ended: () => listener.failed(new Problem(503, 'unavailable', 'the watch has ended')),
    failed: (code, message) => listener.failed(new EtcdError(code, message)),
  });
  onCancel(() => made.cancel());
  made.open();
  const { key, rangeEnd, startRevision, prevKv } = wish;
  const createRequest = WatchCreateRequest.create({ key, rangeEnd, startRevision, prevKv, progressNotify: true });
  made.request(WatchRequest.encode(WatchRequest.create({ createRequest })));
  return made;
}

function refusalOf({ compactRevision, cancelReason }: WatchResponse): Error {
  if (compactRevision > 0) {
    return new Problem(410, 'compacted', `changes before revision ${compactRevision} are forgotten`);
  }
  const match = /^rpc error: code = (\w+) desc = (.*)$/s.exec(cancelReason);
  const code = (GrpcCode as Readonly<Record<string, number>>)[match?.[1] ?? ''] ?? GrpcCode.Unknown;
  return new EtcdError(code, match?.[2] ?? cancelReason);
}

/** `GET /api/watch`: a stream where the client takes one, else one answer. */
export async function watch(question: Question): Promise<void> {
  const { query, exchange } = question;
  query.allow('key', 'prefix', 'from', 'to', 'after', 'previous', 'encoding', 'wait');
  const key = query.bytes('key');
  if (key !== undefined && (query.has('prefix') || query.has('from') || query.has('to'))) {
    throw badRequest('key excludes prefix, from and to');
  }
  const span = key === undefined ? spanOf(question) : { key, rangeEnd: Buffer.alloc(0) };
  if (span.key.length === 0) throw badRequest('the key is empty');
  const after = afterOf(question);
  const wish = { ...span, startRevision: after === null ? 0 : after + 1, prevKv: query.flag('previous') };
  if (/\btext\/event-stream\b/.test(exchange.header('accept') ?? '')) new EventStream(question, wish).start();
  else await answerNext(question, wish, query.number('wait', 30, 0, WAIT_SECONDS_MAX));
}

/** The last revision that the client knows of: where a stream broke off, browsers say it by themselves. */
function afterOf({ exchange, query }: Question): number | null {
  const last = exchange.header('last-event-id');
  if (last !== undefined && last !== '') {
    if (!/^\d{1,15}$/.test(last)) throw badRequest('Last-Event-ID is a revision');
    return Number(last);
  }
  return query.has('after') ? query.number('after', 0, 0, REVISION_MAX) : null;
}

function showEvent({ type, kv, prevKv }: Event, base64: boolean): Record<string, unknown> {
  const isPut = type === EventType.PUT;
  const shown: Record<string, unknown> = { type: isPut ? 'put' : 'delete' };
  if (kv !== null) {
    const all = showKey(kv, { base64, withValue: isPut });
    // Of a key that is gone there is nothing to tell but when it went.
    const { create_revision, version, ...gone } = all;
    Object.assign(shown, isPut ? all : gone);
  }
  if (prevKv !== null) shown['previous'] = showKey(prevKv, { base64, withValue: true });
  return shown;
}

/** One client's stream of events. */
class EventStream implements WatchListener {
  private readonly question: Question;
  private readonly wish: WatchWish;
  private readonly base64: boolean;
  private alive: { cancel(): void } | null = null;

  constructor(question: Question, wish: WatchWish) {
    this.question = question;
    this.wish = wish;
    this.base64 = wantsBase64(question);
  }

  start(): void {
    const call = openWatch(this.question, this.wish, this);
    this.question.exchange.onDrained = () => call.drained();
    this.question.caller.onCancel(() => {
      this.alive?.cancel();
      call.cancel();
    });
  }

  readonly queuedBytes = (): number => this.question.exchange.queuedBytes;

  created(revision: number): void {
    const { exchange, headers } = this.question;
    const type = ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', 'X-Accel-Buffering', 'no'];
    exchange.begin(200, [...headers, ...type]);
    const known = this.wish.startRevision === 0 ? revision : this.wish.startRevision - 1;
    this.send('open', known, { revision: known }, `retry: ${RETRY_MS}\n`);
  }

  changed(events: readonly Event[]): void {
    for (const [index, event] of events.entries()) {
      const revision = event.kv?.modRevision ?? 0;
      // A revision is known when all of it is told: who comes back shall not miss the rest.
      const isLast = events[index + 1]?.kv?.modRevision !== revision;
      this.send(
        event.type === EventType.PUT ? 'put' : 'delete',
        isLast ? revision : null,
        showEvent(event, this.base64),
      );
    }
  }

  progressed(revision: number): void {
    this.send('progress', revision, { revision });
  }

  failed(error: Error): void {
    this.alive?.cancel();
    const { exchange } = this.question;
    if (this.alive === null) {
      this.question.fail(error);
      return;
    }
    const code = error instanceof Problem ? error.code : 'unavailable';
    this.send(code === 'compacted' ? 'compacted' : 'error', null, { code, detail: error.message });
    exchange.end();
  }

  private send(event: string, id: number | null, data: unknown, before = ''): void {
    const { exchange } = this.question;
    if (!exchange.isOpen) return;
    exchange.write(`${before}${id === null ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    this.stayAlive();
  }

  private stayAlive(): void {
    this.alive?.cancel();
    this.alive = this.question.after(ALIVE_MS, () => {
      if (!this.question.exchange.isOpen) return;
      this.question.exchange.write(': alive\n\n');
      this.stayAlive();
    });
  }
}

/** Waits for the next changes, and answers with them; with none where the time is over. */
function answerNext(question: Question, wish: WatchWish, waitSeconds: number): Promise<void> {
  const base64 = wantsBase64(question);
  return new Promise((resolve, reject) => {
    let known = Math.max(0, wish.startRevision - 1);
    let timer: { cancel(): void } | null = null;
    let call: InProcessCall | null = null;
    const finish = (revision: number, events: readonly Event[]): void => {
      timer?.cancel();
      call?.cancel();
      question.json(200, { revision, events: events.map((event) => showEvent(event, base64)) });
      resolve();
    };
    call = openWatch(question, wish, {
      queuedBytes: () => 0,
      created(revision) {
        if (wish.startRevision === 0) known = revision;
      },
      changed: (events) => finish(events.at(-1)?.kv?.modRevision ?? known, events),
      progressed: () => {},
      failed(error) {
        timer?.cancel();
        call?.cancel();
        reject(error);
      },
    });
    timer = question.after(waitSeconds * 1000, () => finish(known, []));
    question.caller.onCancel(() => {
      timer?.cancel();
      call?.cancel();
    });
  });
}

/** Resolves when the key has changed after this revision, or when the time is over. */
export function untilChanged(question: Question, key: Buffer, revision: number, seconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: { cancel(): void } | null = null;
    let call: InProcessCall | null = null;
    const finish = (): void => {
      timer?.cancel();
      call?.cancel();
      resolve();
    };
    call = openWatch(
      question,
      { key, rangeEnd: Buffer.alloc(0), startRevision: revision + 1, prevKv: false },
      {
        queuedBytes: () => 0,
        created: () => {},
        changed: finish,
        progressed: () => {},
        failed(error) {
          timer?.cancel();
          reject(error);
        },
      },
    );
    timer = question.after(seconds * 1000, finish);
    question.caller.onCancel(() => {
      timer?.cancel();
      call?.cancel();
    });
  });
}
