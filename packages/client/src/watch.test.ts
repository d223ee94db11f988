/** Goal: no event is lost and none is seen twice, whatever ends the stream. Method: a scripted member, simulated time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Event,
  KeyValue,
  SnapshotRequest,
  type WatchCreateRequest,
  type WatchRequest,
  type WatchResponse,
} from '@etsd/proto';
import { Caller } from './caller.ts';
import { WatchCanceledError } from './errors.ts';
import { GrpcTransport } from './grpc-link.ts';
import { Snapshot, Watch } from './methods.ts';
import { type Asked, headerAt, Neighbourhood } from './testing/neighbours.ts';

type WatchCall = Asked<WatchRequest, WatchResponse>;

function eventAt(revision: number): Event {
  return Event.create({ kv: KeyValue.create({ key: Buffer.from('k'), modRevision: revision }) });
}

/** A member whose streams the test plays one after the other; each script is given the request and may end the stream. */
async function playing(scripts: ((call: WatchCall, request: WatchCreateRequest) => void)[]) {
  const around = new Neighbourhood();
  const member = await around.member('m');
  const asked: WatchCreateRequest[] = [];
  member.on(Watch, 'stream', (call) => {
    const request = call.request.createRequest;
    if (request === null) return;
    asked.push(request);
    scripts[asked.length - 1]?.(call, request);
  });
  return { around, member, asked, client: around.client(['m']) };
}

async function take(
  { around, client }: Awaited<ReturnType<typeof playing>>,
  count: number,
  startRevision = 0,
): Promise<number[]> {
  const watch = client.watch('k', { startRevision });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const event of watch.events()) {
      seen.push(event.kv?.modRevision ?? 0);
      if (seen.length === count) return;
    }
  })();
  await around.outcome(reading);
  return seen;
}

test('a lost stream is gone on with behind what was seen', async () => {
  const play = await playing([
    (call) => {
      call.send({ created: true, header: headerAt(10) });
      call.send({ header: headerAt(12), events: [eventAt(11), eventAt(12)] });
      call.fail(14, 'etcdserver: no leader');
    },
    (call) => {
      call.send({ created: true, header: headerAt(20) });
      call.send({ header: headerAt(13), events: [eventAt(13)] });
    },
  ]);
  assert.deepEqual(await take(play, 3), [11, 12, 13]);
  assert.deepEqual(
    play.asked.map((request) => request.startRevision),
    [0, 13],
  );
  await play.client.close();
});

test('a stream lost before anything happened is gone on with from where it began', async () => {
  const play = await playing([
    (call) => {
      call.send({ created: true, header: headerAt(10) });
      play.around.home.world.timers.after(50, () => call.fail(14, 'unavailable'));
    },
    (call) => {
      call.send({ created: true, header: headerAt(15) });
      call.send({ header: headerAt(11), events: [eventAt(11)] });
    },
  ]);
  assert.deepEqual(await take(play, 1), [11]);
  assert.deepEqual(
    play.asked.map((request) => request.startRevision),
    [0, 11],
  );
  await play.client.close();
});

test('a progress notice moves the place to go on from', async () => {
  const play = await playing([
    (call) => {
      call.send({ created: true, header: headerAt(10) });
      call.send({ header: headerAt(40) });
      play.around.home.world.timers.after(50, () => call.fail(14, 'unavailable'));
    },
    (call) => {
      call.send({ created: true, header: headerAt(41) });
      call.send({ header: headerAt(41), events: [eventAt(41)] });
    },
  ]);
  assert.deepEqual(await take(play, 1, 5), [41]);
  assert.deepEqual(
    play.asked.map((request) => request.startRevision),
    [5, 41],
  );
  await play.client.close();
});

test('pieces of one revision are handed out together, and again from the start where one is missing', async () => {
  const play = await playing([
    (call) => {
      call.send({ created: true, header: headerAt(10) });
      call.send({ header: headerAt(11), fragment: true, events: [eventAt(11)] });
      call.fail(14, 'unavailable');
    },
    (call) => {
      call.send({ created: true, header: headerAt(11) });
      call.send({ header: headerAt(11), fragment: true, events: [eventAt(11)] });
      call.send({ header: headerAt(11), events: [eventAt(11), eventAt(11)] });
    },
  ]);
  assert.deepEqual(await take(play, 3), [11, 11, 11]);
  await play.client.close();
});

test('what cannot be mended ends the watch with the reason', async () => {
  const play = await playing([
    (call) => {
      call.send({ created: true, header: headerAt(90) });
      call.send({ canceled: true, compactRevision: 80 });
    },
  ]);
  const failure: unknown = await take(play, 1, 5).catch((error: unknown) => error);
  assert.ok(failure instanceof WatchCanceledError);
  assert.equal(failure.compactRevision, 80);
  assert.match(failure.message, /required revision has been compacted/);
  await play.client.close();
});

test('a watch ends when it is closed, also while it waits for a member', async () => {
  const around = new Neighbourhood();
  around.universe.addMachine('down');
  const client = around.client(['down']);
  const watch = client.watch('k');
  const reading = (async () => {
    for await (const _response of watch) assert.fail('nobody is there');
  })();
  around.home.world.timers.after(500, () => watch.close());
  await around.outcome(reading);
  await client.close();
});

test('a slow reader holds the server back instead of filling memory', async () => {
  const around = new Neighbourhood();
  const member = await around.member('m');
  const messages = 200;
  let queued = 0;
  member.on(Snapshot, 'unary', (call) => {
    for (let i = 0; i < messages; i++) call.send({ blob: Buffer.alloc(100_000, i) });
    queued = call.call.queuedBytes;
    call.call.end();
  });
  const options = { endpoints: 'm:2379' };
  const caller = new Caller(new GrpcTransport(around.home.world, options), options);
  const stream = await around.outcome(caller.stream(Snapshot));
  stream.sendLast(SnapshotRequest.create());
  await around.pass(5000);
  assert.ok(queued > 10_000_000, 'there was more to send than the window takes');
  assert.ok(stream.heldBytes > 0 && stream.heldBytes < 4_000_000, `${stream.heldBytes} bytes held`);
  const reading = (async () => {
    let count = 0;
    for (let piece = await stream.next(); piece !== null; piece = await stream.next()) {
      assert.equal(piece.blob[0], count++ & 255);
    }
    return count;
  })();
  assert.equal(await around.outcome(reading), messages);
  caller.close();
});
