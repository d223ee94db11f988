/**
 * What a write costs because somebody watches. Prints microseconds per event and watcher; run with
 * `node packages/mvcc/src/watch-hub.bench.ts`.
 */
import { KeyValue, writeInt, writeVarint } from '@etsd/proto';
import type { EventSelection } from './event.ts';
import { WatchHub } from './watch-hub.ts';
import { request } from './watch-model.fixture.ts';
import type { Watcher, WatchSink } from './watch-stream.ts';

/** Does with the bytes what the transport does: header and id written, events copied to an outgoing buffer. */
class CopyingSink implements WatchSink {
  static readonly out = Buffer.alloc(1 << 20);
  static at = 0;

  writable(): boolean {
    return true;
  }

  envelopeSize(): number {
    return 40;
  }

  events(watcher: Watcher, revision: number, selection: EventSelection, from: number, to: number): void {
    const out = CopyingSink.out;
    const size = 40 + selection.size(from, to);
    let at = CopyingSink.at;
    if (at + size > out.length) at = 0;
    out[at++] = 0x0a;
    at = writeVarint(out, at, revision);
    out[at++] = 0x10;
    at = writeInt(out, at, watcher.id);
    CopyingSink.at = selection.write(out, at, from, to);
  }

  compacted(): void {}

  progress(): void {}
}

const value = Buffer.alloc(256, 1);
const key = Buffer.from('/registry/pods/default/pod-0001');
const record = KeyValue.encode(KeyValue.create({ key, createRevision: 5, modRevision: 1000, version: 7, value }));
const source = {
  revision: 1,
  compactRevision: -1,
  recordBefore: (): Buffer => record,
  history: (): void => {},
};
const change = { count: 1, keys: [key.toString('latin1')], records: [record], deleted: [false] };

function measure(name: string, watchers: number, options: Parameters<typeof request>[0], rounds: number): void {
  const hub = new WatchHub(source, { fragmentBytes: 2 << 20, wake: () => {} });
  const perStream = 10;
  for (let made = 0; made < watchers; made += perStream) {
    const stream = hub.open(new CopyingSink());
    for (let count = 0; count < perStream; count++) stream.create(request(options));
  }
  let revision = 2;
  for (let round = 0; round < rounds / 10; round++) hub.changed(revision++, change);
  const before = hub.eventsTotal;
  const start = process.hrtime.bigint();
  for (let round = 0; round < rounds; round++) hub.changed(revision++, change);
  const micros = Number(process.hrtime.bigint() - start) / 1000;
  const told = hub.eventsTotal - before;
  const perEvent = told === 0 ? '' : `, ${(micros / told).toFixed(3)} µs an event and watcher`;
  console.log(`${name}: ${(micros / rounds).toFixed(3)} µs a write${perEvent} (${told} told)`);
}

const prefix = { key: '/registry/pods/', rangeEnd: '/registry/pods0' };
measure('nobody watches', 0, {}, 1_000_000);
measure('1000 watch another key', 1000, { key: '/other' }, 300_000);
measure('1000 watch another range', 1000, { key: '/other', rangeEnd: '/other0' }, 300_000);
measure('1000 watch this key', 1000, { key: key.toString('latin1') }, 1000);
measure('1000 watch a prefix', 1000, prefix, 1000);
measure('1000 watch a prefix, previous values', 1000, { ...prefix, prevKv: true }, 1000);
measure('10 watch a prefix', 10, prefix, 100_000);
