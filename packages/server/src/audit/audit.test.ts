import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Prng, silentLogger } from '@etsd/base';
import {
  ErrPermissionDenied,
  METHODS,
  PutRequest,
  RaftRequestField,
  RangeRequest,
  TxnRequest,
  writeRaftRequest,
} from '@etsd/proto';
import { LogTimes } from '@etsd/replication';
import { SimUniverse } from '@etsd/runtime/sim';
import type { AuthStore } from '@etsd/state';
import { forSeeds } from '@etsd/testkit';
import { type Identity, UNASKED } from '../access.ts';
import { FakeCall, FakeWorld } from '../api/surroundings.fixture.ts';
import type { ApiCall, ApiHandler } from '../context.ts';
import { Observer } from '../observe/observer.ts';
import { SlowLog } from '../observe/slow-log.ts';
import { UsageMeter } from '../usage/usage-meter.ts';
import { AuditBuffer, type AuditSink } from './audit-buffer.ts';
import { AUDIT_LEVELS, type AuditLevel, AuditLog, levelOf } from './audit-log.ts';
import { FileSink } from './file-sink.ts';
import { describer, EntryKey, ESCAPE_BYTES_MAX, keyWriter, quoted, writeKey } from './request-fields.ts';

/** Keeps what it is given, and answers when told to. */
class HeldSink implements AuditSink {
  text = '';
  pending: ((error: Error | null) => void) | null = null;
  writes = 0;
  write(bytes: Buffer, length: number, done: (error: Error | null) => void): void {
    this.writes++;
    this.text += bytes.toString('latin1', 0, length);
    this.pending = done;
  }
  answer(error: Error | null = null): void {
    const done = this.pending;
    this.pending = null;
    done?.(error);
  }
  async close(): Promise<void> {}
}

/** Every field of a message filled: texts and bytes with a word that names the field, the rest with what is not zero. */
function fill(type: { new (): object; create(partial: object): object }, depth = 3): object {
  const message = new type();
  const schema = NESTED[type.name] ?? {};
  for (const [name, value] of Object.entries(message) as [keyof object, unknown][]) {
    const nested = schema[name as string];
    let filled: unknown = value;
    if (nested !== undefined) {
      const inner = depth > 0 ? fill(nested.type, depth - 1) : null;
      filled = nested.repeated ? (inner === null ? [] : [inner]) : inner;
    } else if (Buffer.isBuffer(value) || (value === null && name === ('value' as string)))
      filled = Buffer.from(`canary-${name}`);
    else if (typeof value === 'string') filled = /^[0-9a-f]{16}$/.test(value) ? '00000000000000c5' : `canary-${name}`;
    else if (typeof value === 'number') filled = 1;
    else if (typeof value === 'boolean') filled = true;
    else if (Array.isArray(value) && name === ('peerURLs' as string)) filled = [`canary-${name}`];
    Object.assign(message, { [name]: filled });
  }
  if (type.name === 'Compare')
    Object.assign(message, { version: null, createRevision: null, modRevision: null, lease: null });
  return message;
}

type Type = { new (): object; create(partial: object): object };
const gen = (await import('@etsd/proto')) as unknown as Record<string, Type>;
const one = (name: string) => ({ type: gen[name] as Type, repeated: false });
const many = (name: string) => ({ type: gen[name] as Type, repeated: true });
const NESTED: Record<string, Record<string, { type: Type; repeated: boolean }>> = {
  TxnRequest: { compare: many('Compare'), success: many('RequestOp'), failure: many('RequestOp') },
  RequestOp: { requestPut: one('PutRequest') },
  WatchRequest: { createRequest: one('WatchCreateRequest') },
  AuthUserAddRequest: { options: one('AuthUserAddOptions') },
  AuthRoleGrantPermissionRequest: { perm: one('AuthPermission') },
  ProclaimRequest: { leader: one('LeaderKey') },
  ResignRequest: { leader: one('LeaderKey') },
};

// Goal: no value and no secret gets out, of any method, also of those that come one day: what is shown is a list of fields.
test('of all requests only keys, names, addresses and numbers are shown', () => {
  const shown = new Set<string>();
  const seen = new Set<string>();
  for (const { path, request } of METHODS) {
    const message = fill(request as unknown as Type);
    for (const [word] of JSON.stringify(message, (_name, value) =>
      value?.type === 'Buffer' ? Buffer.from(value.data).toString() : value,
    ).matchAll(/canary-\w+/g))
      seen.add(word);
    const bytes = request.encode(message);
    const text = describer(path, keyWriter('escaped'))(bytes, 0, bytes.length);
    if (text !== '') JSON.parse(`{${text.slice(1)}}`);
    for (const [word] of text.matchAll(/canary-\w+/g)) shown.add(word);
  }
  assert.deepEqual(
    [...shown].sort(),
    ['key', 'level', 'name', 'peerURLs', 'rangeEnd', 'role', 'service', 'user', 'version'].map(
      (name) => `canary-${name}`,
    ),
  );
  for (const secret of ['value', 'password', 'hashedPassword'])
    assert.ok(seen.has(`canary-${secret}`), `${secret} was there to be shown`);
});

test('keys are written so that a line stays a line of ASCII, and can be read back', async () => {
  const write = keyWriter('escaped');
  const show = (bytes: Buffer): string => write(bytes, 0, bytes.length);
  assert.equal(show(Buffer.from('/registry/pods/a b')), '"/registry/pods/a b"');
  assert.equal(JSON.parse(show(Buffer.from([0, 0x22, 0x5c, 0xff, 0x41]))), '\\x00"\\\\\\xffA');
  assert.equal(keyWriter('base64')(Buffer.from('abc'), 0, 3), '"YWJj"');
  assert.equal(keyWriter('omit')(Buffer.from('abc'), 0, 3), '""');
  await forSeeds(300, (prng: Prng) => {
    const bytes = prng.bytes(prng.below(40));
    assert.match(show(bytes), /^[ -~]*$/);
    const read = (JSON.parse(show(bytes)) as string).replace(/\\x(..)|\\\\/g, (_all, hex: string | undefined) =>
      hex === undefined ? '\\' : String.fromCharCode(Number.parseInt(hex, 16)),
    );
    assert.equal(read, bytes.toString('latin1'));
    const text = bytes.toString('utf16le');
    assert.match(quoted(text), /^[ -~]*$/);
    JSON.parse(quoted(text));
  });
});

// Goal: the way of most puts, without strings, shows what the general one shows, and leaves to it whatever is not plain.
test('keys of puts are written byte by byte as by the general way', async () => {
  const general = describer('/etcdserverpb.KV/Put', keyWriter('escaped'));
  const target = Buffer.alloc(200 * ESCAPE_BYTES_MAX);
  const key = new EntryKey();
  const found = new Set<boolean>();
  await forSeeds(300, (prng: Prng) => {
    const isText = prng.below(2) === 0;
    const length = prng.below(8) === 0 ? 124 + prng.below(6) : 1 + prng.below(70);
    const shown = prng.bytes(length).map((byte) => (isText ? 0x20 + (byte % 0x5f) : byte));
    const lease = prng.below(5) === 0 ? '0000000000000001' : '0000000000000000';
    const value = Buffer.alloc([0, 6, 100, 127, 128, 256, 70_000, 2_200_000][prng.below(8)] as number, 0x0a);
    const put = PutRequest.create({ key: Buffer.from(shown), value, lease, prevKv: prng.below(8) === 0 });
    const bytes = PutRequest.encode(put);
    const entry = writeRaftRequest(RaftRequestField.Put, bytes, 0, bytes.length, 1, 2, '', 0);
    const isPlain = shown.length <= 127 && lease.endsWith('0') && !put.prevKv;
    found.add(isPlain);
    assert.equal(key.find(entry), isPlain);
    const cut = entry.subarray(0, prng.below(bytes.length));
    assert.equal(key.find(cut), false, 'an entry that is cut off');
    if (!isPlain) return;
    key.find(entry);
    const end = writeKey(entry, key.start, key.end, target, 3);
    assert.ok(end - 3 <= shown.length * ESCAPE_BYTES_MAX);
    const text = `,"request":{"key":"${target.toString('latin1', 3, end)}"}`;
    assert.equal(text, general(bytes, 0, bytes.length));
    // Two keys, of which the last one counts; another order; a field that nobody knows.
    const other = Buffer.concat([
      bytes,
      [bytes, Buffer.from([0x0a, 1, 0x41]), Buffer.from([0x48, 1])][prng.below(3)] as Buffer,
    ]);
    assert.equal(key.find(writeRaftRequest(RaftRequestField.Put, other, 0, other.length, 1, 2, '', 0)), false);
  });
  for (const bytes of [
    [],
    [0x22],
    [0x22, 0],
    [0x22, 1, 0x0a],
    [0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0a],
    [0x2a, 2, 0x0a, 0],
  ]) {
    assert.equal(key.find(Buffer.from(bytes)), false, `${bytes}`);
  }
  assert.equal(found.size, 2);
});

test('a request that is long shows its beginning', () => {
  const ops = Array.from({ length: 3000 }, (_, place) => ({
    ...gen['RequestOp']?.create({}),
    requestPut: PutRequest.create({ key: Buffer.from(`k${place}`) }),
  }));
  const bytes = TxnRequest.encode(TxnRequest.create({ success: ops as never }));
  const text = describer('/etcdserverpb.KV/Txn', keyWriter('escaped'))(bytes, 0, bytes.length);
  const { request, cut } = JSON.parse(`{${text.slice(1)}}`) as { request: { success: unknown[] }; cut: boolean };
  assert.ok(cut && request.success.length < 2001);
  const put = PutRequest.encode(PutRequest.create({ key: Buffer.alloc(1_000_000, 'k') }));
  assert.ok(describer('/etcdserverpb.KV/Put', keyWriter('escaped'))(put, 0, put.length).length < 1100);
});

// ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Rig {
  world: FakeWorld;
  sink: HeldSink;
  buffer: AuditBuffer;
  log: AuditLog;
  /** Who asks from now on. */
  asker: { identity: Identity };
  lines(): Record<string, unknown>[];
}

function rig(level: AuditLevel, options: { strict?: boolean; identity?: Identity; bytes?: number } = {}): Rig {
  const world = new FakeWorld();
  const sink = new HeldSink();
  const buffer = new AuditBuffer(world, silentLogger, sink, options.bytes ?? 65_536);
  const asker: Rig['asker'] = { identity: options.identity ?? { user: 'ann', by: 'token' } };
  const log = new AuditLog({
    world,
    access: { identify: () => asker.identity },
    buffer,
    member: 'aa',
    level,
    keys: 'escaped',
    strict: options.strict ?? false,
    revision: () => 7,
  });
  const lines = () => {
    world.advance(100);
    sink.answer();
    return sink.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  return { world, sink, buffer, log, asker, lines };
}

function observerOf(world: FakeWorld): Observer {
  const access = { identify: () => ({ user: 'ann', by: 'token' }) as const, auth: { enabled: false } as AuthStore };
  const usage = new UsageMeter(world, access);
  const slow = new SlowLog(silentLogger);
  return new Observer({ world, usage, slow, slowMs: 1e9, tracer: null, times: new LogTimes(), isLeader: () => true });
}

const put = PutRequest.encode(PutRequest.create({ key: Buffer.from('k'), value: Buffer.from('v') }));
const range = RangeRequest.encode(RangeRequest.create({ key: Buffer.from('k'), rangeEnd: Buffer.from('m') }));

function ask(log: AuditLog, path: string, bytes: Buffer, answer: (call: FakeCall) => void): FakeCall {
  const handler: ApiHandler = { kind: 'unary', message: (call) => answer(call as FakeCall) };
  const call = new FakeCall(log.guard(path, handler), {}, 'web.example');
  call.receive(bytes);
  return call;
}

test('a line tells who, what, from where, and what came of it', () => {
  const { world, log, lines } = rig('write');
  ask(log, '/etcdserverpb.KV/Put', put, (call) => {
    world.now += 2.5;
    call.end();
  });
  assert.deepEqual(lines(), [
    {
      time: '1970-01-01T00:00:01.002Z',
      member: 'aa',
      rpc: 'KV/Put',
      user: 'ann',
      by: 'token',
      cn: 'web.example',
      peer: '10.0.0.1:4711',
      request: { key: 'k' },
      code: 'OK',
      revision: 7,
      us: 2500,
    },
  ]);
});

// Goal: a put whose bytes are gone is told by its entry in the log, and one that got into none by what was noted of it.
test('the line of a put that waited has its key', () => {
  const { log, lines } = rig('write');
  const bytes = Buffer.from(put);
  const proposing = { kind: 'unary', message: propose } as const;
  function propose(call: ApiCall, request: Buffer, start: number, end: number): void {
    call.entry = writeRaftRequest(RaftRequestField.Put, request, start, end, 1, 2, 'ann', 3);
  }
  for (const handler of [proposing, { kind: 'unary', message() {} } as const]) {
    const call = new FakeCall(log.guard('/etcdserverpb.KV/Put', handler));
    bytes.set(put);
    call.receive(bytes);
    bytes.fill(0x41);
    call.end();
  }
  assert.deepEqual(
    lines().map(({ request }) => request),
    [{ key: 'k' }, { key: 'k' }],
  );
});

// Goal: puts of which nothing is kept but who asked, and whose lines are written many at a time, are told as those of which
// everything is noted, and in the order of their ends, whatever comes between them; each shows who asked and from where, though
// that is kept with a connection on which users change.
test('lines of puts that are observed are those of puts that are not', async () => {
  await forSeeds(60, (prng: Prng) => {
    const steps = Array.from({ length: 1 + prng.below(900) }, () => ({
      path: `/etcdserverpb.KV/${prng.below(10) === 0 ? 'Range' : 'Put'}`,
      key: prng.bytes(prng.below(60)),
      lease: prng.below(10) === 0 ? '00000000000000aa' : '0000000000000000',
      peer: `10.0.0.${prng.below(3)}:4711`,
      who: [UNASKED, UNASKED, { user: 'ann', by: 'token' }, { user: 'bob', by: 'token' }][prng.below(4)] as Identity,
      /** What the handler does: puts it into the log, lets it wait, answers, refuses. */
      way: ['log', 'log', 'log', 'log', 'log', 'wait', 'end', 'fail'][prng.below(8)] as string,
      code: prng.below(4) === 0 ? 7 : 0,
      lastsFor: prng.below(50),
      pauseMs: prng.below(20) === 0 ? prng.below(3000) : prng.float(),
    }));
    const run = (isObserved: boolean): string => {
      const { world, sink, buffer, log, asker } = rig('read', { bytes: 4_000_000 });
      const ofPeers = new Map<string, { known: unknown }>();
      const observer = observerOf(world);
      const open: { call: FakeCall; until: number }[] = [];
      const finish = (now: number): void => {
        for (const { call, until } of open) {
          if (until > now || !call.isOpen) continue;
          if (until % 5 === 0) call.hangUp();
          else if (until % 7 === 0) call.fail(7, '');
          else call.end();
        }
      };
      for (const [number, step] of steps.entries()) {
        const inner: ApiHandler = {
          kind: 'unary',
          message(call, bytes, start, end) {
            world.now += 0.25;
            if (step.way === 'log') call.entry = writeRaftRequest(RaftRequestField.Put, bytes, start, end, 1, 2, '', 0);
            else if (step.way === 'end') call.end();
            else if (step.way === 'fail') call.fail(step.code, '');
          },
        };
        const audited = log.guard(
          step.path,
          step.path.endsWith('Put') ? inner : { ...inner, message: (call) => call.end() },
        );
        const call = new FakeCall(isObserved ? observer.guard(step.path, audited) : audited);
        call.peer = step.peer;
        asker.identity = step.who;
        const ofPeer = ofPeers.get(step.peer) ?? { known: null };
        ofPeers.set(step.peer, ofPeer);
        Object.defineProperty(call, 'ofPeer', {
          get: () => ofPeer.known,
          set: (known) => {
            ofPeer.known = known;
          },
        });
        const key = Buffer.from(step.key);
        const put = PutRequest.create({ key, value: Buffer.from('v'), lease: step.lease });
        const bytes = step.path.endsWith('Put')
          ? PutRequest.encode(put)
          : RangeRequest.encode(RangeRequest.create({ key }));
        call.receive(bytes);
        bytes.fill(0x41);
        open.push({ call, until: number + step.lastsFor });
        world.advance(step.pauseMs);
        sink.answer();
        finish(number);
      }
      finish(Number.POSITIVE_INFINITY);
      world.advance(100);
      sink.answer();
      world.advance(100);
      assert.equal(buffer.dropped, 0);
      return sink.text;
    };
    const observed = run(true).split('\n');
    assert.equal(observed.length, steps.length + 1);
    const askers = observed
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, string>)
      .map(({ rpc, user, by, peer }) => `${rpc} ${user} ${by} ${peer}`);
    assert.deepEqual(
      askers.sort(),
      steps.map(({ path, who, peer }) => `${path.slice(14)} ${who.user} ${who.by} ${peer}`).sort(),
    );
    assert.deepEqual(observed, run(false).split('\n'));
  });
});

// Goal: who waits for the answers of a turn does not wait for the lines about them.
test('lines of many puts are made and written behind the turn in which they ended', () => {
  const { world, sink, log } = rig('write', { identity: UNASKED, bytes: 4_000_000 });
  const handler = observerOf(world).guard(
    '/etcdserverpb.KV/Put',
    log.guard('/etcdserverpb.KV/Put', {
      kind: 'unary',
      message(call, bytes, start, end) {
        call.entry = writeRaftRequest(RaftRequestField.Put, bytes, start, end, 1, 2, '', 0);
      },
    }),
  );
  for (let count = 0; count < 1500; count++) {
    const call = new FakeCall(handler);
    call.receive(put);
    call.end();
  }
  assert.equal(sink.writes, 0);
  world.endTurn();
  assert.equal(sink.writes, 1);
  assert.equal(sink.text.split('\n').length, 1501);
});

test('each level tells what those before it tell; refusals are told on all', () => {
  for (const { path } of METHODS) assert.ok(AUDIT_LEVELS.includes(levelOf(path)));
  const told = (level: AuditLevel, path: string, code: number) => {
    const { log, lines } = rig(level);
    ask(log, path, path.endsWith('Range') ? range : put, (call) => (code === 0 ? call.end() : call.fail(code, '')));
    return lines().length;
  };
  const paths = ['Auth/UserAdd', 'Maintenance/MoveLeader', 'KV/Put', 'KV/Range', 'Lease/LeaseKeepAlive'];
  for (const [place, path] of paths.entries()) {
    for (const [at, level] of AUDIT_LEVELS.entries()) {
      assert.equal(told(level, `/etcdserverpb.${path}`, 0), at >= place ? 1 : 0, `${path} on ${level}`);
      assert.equal(told(level, `/etcdserverpb.${path}`, ErrPermissionDenied.code), 1, `${path} refused on ${level}`);
    }
  }
});

test('a client that hangs up, and each thing asked on a stream, has its line', () => {
  const { log, lines } = rig('all');
  ask(log, '/etcdserverpb.KV/Put', put, () => {}).hangUp();
  const stream: ApiHandler = { kind: 'stream', message() {} };
  const call = new FakeCall(log.guard('/etcdserverpb.Watch/Watch', stream));
  call.receive(Buffer.alloc(0));
  call.receive(Buffer.alloc(0));
  call.fail(7, 'etcdserver: permission denied');
  assert.deepEqual(
    lines().map(({ rpc, code }) => `${rpc} ${code}`),
    ['KV/Put Canceled', 'Watch/Watch OK', 'Watch/Watch OK', 'Watch/Watch PermissionDenied'],
  );
});

// Goal: a place that takes nothing costs lines, which are counted, and neither memory nor time.
test('what finds no room is counted, and told to nobody', () => {
  const { sink, buffer, log, lines } = rig('write');
  for (let count = 0; count < 1000; count++) ask(log, '/etcdserverpb.KV/Put', put, (call) => call.end());
  assert.equal(lines().length + buffer.dropped, 1000);
  assert.ok(buffer.dropped > 500 && sink.writes <= 2);
  assert.equal(log.refused, 0);
});

test('a strict log refuses requests while it can not be written, and takes them again afterwards', () => {
  const { world, sink, log } = rig('write', { strict: true });
  const code = () => ask(log, '/etcdserverpb.KV/Put', put, (call) => call.end()).status?.code;
  assert.equal(code(), 0);
  world.advance(100);
  sink.answer(new Error('ENOSPC'));
  assert.deepEqual([code(), code(), log.refused], [14, 14, 2]);
  world.advance(1000);
  sink.answer();
  assert.equal(code(), 0);
  let taken = 0;
  while (code() === 0) taken++;
  assert.ok(taken > 100 && taken < 400, `${taken} fit before the buffer is nearly full`);
});

// ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('a file is put aside by size and by age, and the oldest go', async () => {
  const universe = new SimUniverse(1);
  const { world } = universe.addMachine('m');
  let passedMs = 0;
  const parts = {
    disk: world.disk,
    clock: { wallMs: () => world.clock.wallMs() + passedMs },
    path: '/d/audit.log',
    rotation: { sizeBytes: 100, ageMs: 60_000, keep: 2 },
  };
  const run = async (): Promise<string[]> => {
    await world.disk.makeDirectory('/d');
    const write = (to: FileSink, text: string) =>
      new Promise<void>((resolve, reject) => {
        to.write(Buffer.from(text), text.length, (error) => (error === null ? resolve() : reject(error)));
      });
    const sink = await FileSink.open(parts);
    for (let count = 0; count < 9; count++) await write(sink, `${count}`.repeat(40));
    await sink.close();
    const again = await FileSink.open(parts);
    await write(again, 'behind');
    passedMs += 3_600_000;
    await write(again, 'later');
    await again.close();
    const names = await world.disk.list('/d');
    assert.ok(names.every((name) => /^audit\.log(\.\d{8}T\d{6}\.\d{3}Z\+*)?$/.test(name)));
    return await Promise.all(names.map(async (name) => (await world.disk.readFile(`/d/${name}`)).toString()));
  };
  const texts = await universe.simulation.runToEnd(run());
  assert.deepEqual(texts, ['later', `${'6'.repeat(40)}${'7'.repeat(40)}`, `${'8'.repeat(40)}behind`]);
});
