/** Goal: snapshots arrive whole or not at all, raft hears how it went, and neither end holds more than a little of them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { ConfState, Message, MessageType, RaftSnapshot, SnapshotMetadata } from '@etsd/proto';
import type { OutgoingSnapshot, SnapshotSink, SnapshotSource } from './snapshot-transfer.ts';
import { NotingHost, Station, until } from './testing/loopback.ts';

const PIECE_BYTES = 256 * 1024;

/** A file of given length whose bytes follow from their places. */
class PatternSource implements SnapshotSource {
  readonly size: number;
  /** What is said to be the size, if not the truth. */
  claimed: number;
  produced = 0;
  closes = 0;
  readonly digest = createHash('sha256');
  failure: Error | null = null;

  constructor(size: number) {
    this.size = size;
    this.claimed = size;
  }

  async open(message: Message): Promise<OutgoingSnapshot> {
    if (this.failure !== null) throw this.failure;
    const snapshot = RaftSnapshot.create({ ...message.snapshot, data: Buffer.from('{"store":"v2"}') });
    return {
      message: Message.create({ ...message, snapshot }),
      size: this.claimed,
      read: async () => {
        const length = Math.min(PIECE_BYTES, this.size - this.produced);
        if (length === 0) return null;
        const piece = Buffer.alloc(length, this.produced / PIECE_BYTES);
        this.produced += length;
        this.digest.update(piece);
        return piece;
      },
      close: () => {
        this.closes++;
      },
    };
  }
}

/** Takes the file, as fast as a test lets it. */
class CountingSink implements SnapshotSink {
  consumed = 0;
  message: Message | null = null;
  readonly digest = createHash('sha256');
  isOver = false;
  error: unknown = null;
  failure: Error | null = null;
  private gate: Promise<void> = Promise.resolve();
  open: () => void = () => {};

  hold(): void {
    this.gate = new Promise((resolve) => {
      this.open = resolve;
    });
  }

  async receive(message: Message, body: AsyncIterable<Buffer>): Promise<void> {
    this.message = message;
    try {
      for await (const piece of body) {
        await this.gate;
        if (this.failure !== null) throw this.failure;
        this.consumed += piece.length;
        this.digest.update(piece);
      }
    } catch (error) {
      this.error = error;
      throw error;
    } finally {
      this.isOver = true;
    }
  }
}

class Pair {
  readonly from = new Station(1);
  readonly to = new Station(2);
  readonly fromHost = new NotingHost();
  readonly toHost = new NotingHost();
  readonly source: PatternSource;
  readonly sink = new CountingSink();

  constructor(size: number) {
    this.source = new PatternSource(size);
  }

  async open(): Promise<this> {
    const { from, to } = this;
    await from.listen();
    await to.listen();
    from.open(this.fromHost, { source: this.source });
    to.open(this.toHost, { sink: this.sink });
    from.transport.addPeer(to.id, [to.url]);
    to.transport.addPeer(from.id, [from.url]);
    await until('streams', () => from.transport.activeSince(to.id) !== null);
    return this;
  }

  send(): void {
    const metadata = SnapshotMetadata.create({
      index: 77,
      term: 3,
      confState: ConfState.create({ voters: [this.from.id, this.to.id] }),
    });
    const snapshot = RaftSnapshot.create({ metadata });
    const message = Message.create({
      type: MessageType.MsgSnap,
      from: this.from.id,
      to: this.to.id,
      term: 3,
      snapshot,
    });
    this.from.transport.send([message]);
  }

  async outcome(): Promise<string | undefined> {
    await until('an outcome', () => this.fromHost.snapshots.length > 0);
    return this.fromHost.snapshots[0];
  }

  async close(): Promise<void> {
    await this.from.close();
    await this.to.close();
  }
}

describe('snapshots between members', () => {
  let pair: Pair;
  afterEach(() => pair.close());

  it('arrives whole, with its message, and raft is told behind it', async () => {
    pair = new Pair(20 * 1024 * 1024 + 5);
    await pair.open();
    pair.send();
    assert.equal(await pair.outcome(), `${pair.to.id} finished`);
    assert.equal(pair.sink.consumed, pair.source.size);
    assert.equal(pair.sink.digest.digest('hex'), pair.source.digest.digest('hex'));
    const stepped = pair.toHost.messages.filter(({ type }) => type === MessageType.MsgSnap);
    assert.equal(stepped.length, 1);
    assert.equal(stepped[0]!.snapshot?.data.toString(), '{"store":"v2"}');
    assert.equal(stepped[0]!.snapshot?.metadata?.index, 77);
    assert.equal(pair.source.closes, 1);
    const counters = pair.from.transport.counters.get(pair.to.id)!;
    assert.deepEqual([counters.snapshotsSent, counters.snapshotsSending, counters.snapshotSendTimes.count], [1, 0, 1]);
  });

  it('waits for a receiver whose disk is slow, with little in memory, while messages go on', async () => {
    pair = new Pair(200 * 1024 * 1024);
    await pair.open();
    pair.sink.hold();
    pair.send();
    await until('the beginning', () => pair.sink.message !== null);
    let produced = -1;
    await until('a stand-still', () => {
      const stands = produced === pair.source.produced;
      produced = pair.source.produced;
      return stands && produced > 0;
    });
    // What fits the buffers of two sockets, and the little that streams hold.
    assert.ok(produced < 32 * 1024 * 1024, `${produced} bytes under way`);
    const message = Message.create({ type: MessageType.MsgHeartbeat, from: pair.from.id, to: pair.to.id, term: 3 });
    pair.from.transport.send([message]);
    await until('the message', () => pair.toHost.messages.length > 0);
    assert.deepEqual(pair.fromHost.snapshots, []);
    pair.sink.open();
    assert.equal(await pair.outcome(), `${pair.to.id} finished`);
    assert.equal(pair.sink.consumed, pair.source.size);
  });

  it('says so when the sender cannot make one', async () => {
    pair = new Pair(1000);
    pair.source.failure = new Error('no space');
    await pair.open();
    pair.send();
    assert.equal(await pair.outcome(), `${pair.to.id} failed`);
    assert.ok(pair.from.logger.has('no space'));
  });

  it('says so when the receiver cannot keep it, and raft there does not hear of it', async () => {
    pair = new Pair(5 * 1024 * 1024);
    await pair.open();
    pair.sink.failure = new Error('disk full');
    pair.send();
    assert.equal(await pair.outcome(), `${pair.to.id} failed`);
    assert.ok(pair.from.logger.has('failed to save KV snapshot (disk full)'), pair.from.logger.lines.join('\n'));
    assert.equal(pair.source.closes, 1);
    assert.ok(!pair.toHost.messages.some(({ type }) => type === MessageType.MsgSnap));
  });

  it('a connection that is cut fails both ends', async () => {
    pair = new Pair(200 * 1024 * 1024);
    await pair.open();
    pair.sink.hold();
    pair.send();
    await until('the beginning', () => pair.sink.message !== null);
    pair.to.cut();
    pair.sink.open();
    assert.equal(await pair.outcome(), `${pair.to.id} failed`);
    await until('the end there', () => pair.sink.isOver);
    assert.notEqual(pair.sink.error, null, 'half a file must not look like a whole one');
    assert.equal(pair.source.closes, 1);
  });

  for (const difference of [-1, 1]) {
    it(`a file ${difference < 0 ? 'longer' : 'shorter'} than it said is not taken for whole`, async () => {
      pair = new Pair(3 * 1024 * 1024);
      await pair.open();
      pair.source.claimed += difference;
      pair.send();
      assert.equal(await pair.outcome(), `${pair.to.id} failed`);
      await until('the end there', () => pair.sink.isOver);
      assert.notEqual(pair.sink.error, null);
    });
  }

  it('sends one at a time to the same member', async () => {
    pair = new Pair(50 * 1024 * 1024);
    await pair.open();
    pair.sink.hold();
    pair.send();
    await until('the beginning', () => pair.sink.message !== null);
    pair.send();
    assert.equal(await pair.outcome(), `${pair.to.id} failed`);
    pair.sink.open();
    await until('the first', () => pair.fromHost.snapshots.length > 1);
    assert.equal(pair.fromHost.snapshots[1], `${pair.to.id} finished`);
  });
});
