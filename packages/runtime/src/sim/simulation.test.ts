/**
 * Goal: one seed is one history, time passes only by events, and nothing real gets in. Method: small programs on the
 * simulated world.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Socket } from '../index.ts';
import { SimUniverse } from './index.ts';

test('callbacks come in the order of their time; soon before end of turn before later', async () => {
  const { simulation, machine } = universeOf(1);
  const { timers } = machine.world;
  const order: string[] = [];
  timers.after(2, () => order.push('two'));
  timers.after(1, () => {
    order.push('one');
    timers.after(0.1, () => order.push('later'));
    timers.endOfTurn(() => order.push('end of turn'));
    timers.soon(() => order.push('soon'));
  });
  timers.after(1, () => order.push('same moment'));
  const cancelled = timers.after(1.5, () => order.push('never'));
  cancelled.cancel();
  await simulation.runFor(10);
  assert.deepEqual(order, ['one', 'soon', 'same moment', 'end of turn', 'later', 'two']);
});

test('repeated timers keep their period until cancelled, also from inside', async () => {
  const { simulation, machine } = universeOf(2);
  const times: number[] = [];
  const timer = machine.world.timers.every(10, () => {
    times.push(simulation.nowMs);
    if (times.length === 3) timer.cancel();
  });
  await simulation.runFor(100);
  assert.deepEqual(times, [10, 20, 30]);
});

test('a stopped process misses nothing but the time, and a repeated timer only once', async () => {
  const { simulation, machine } = universeOf(2);
  const { timers } = machine.world;
  const seen: string[] = [];
  timers.every(10, () => seen.push(`tick ${simulation.nowMs}`));
  timers.after(25, () => seen.push(`once ${simulation.nowMs}`));
  await simulation.runFor(15);
  machine.pause(40);
  assert.equal(machine.pausedUntilMs, 55);
  await simulation.runFor(55);
  assert.deepEqual(seen, ['tick 10', 'once 55', 'tick 55', 'tick 65']);
});

// A shorter one would let what comes later happen before what is put off already.
test('a process that is stopped again meanwhile is stopped for the longer of both', async () => {
  const { simulation, machine } = universeOf(2);
  const { timers } = machine.world;
  const seen: string[] = [];
  timers.after(10, () => seen.push(`first ${simulation.nowMs}`));
  timers.after(60, () => seen.push(`second ${simulation.nowMs}`));
  machine.pause(100);
  await simulation.runFor(20);
  machine.pause(5);
  assert.equal(machine.pausedUntilMs, 100);
  await simulation.runFor(100);
  assert.deepEqual(seen, ['first 100', 'second 100']);
});

test('clocks run at their own rate, timers with them', async () => {
  const { simulation, machine } = universeOf(3);
  machine.clockFaults.rate = 2;
  machine.clockFaults.wallOffsetMs = 1000;
  const { clock, timers } = machine.world;
  const wallBefore = clock.wallMs();
  let firedMs = 0;
  timers.after(100, () => {
    firedMs = simulation.nowMs;
  });
  await simulation.runFor(60);
  assert.equal(firedMs, 50);
  assert.equal(clock.nowMs(), 120);
  assert.equal(clock.wallMs() - wallBefore, 120);
});

test('the same seed gives the same history, another seed another one', async () => {
  const history = async (seed: number): Promise<string> => {
    const { simulation, machine } = universeOf(seed);
    const { disk, random, timers } = machine.world;
    const lines: string[] = [];
    const writer = async (name: string): Promise<void> => {
      for (let round = 0; round < 20; round++) {
        await disk.writeFileAtomic(`/d/${name}`, random.bytes(20));
        lines.push(`${name} ${round} ${simulation.nowMs}`);
        await new Promise<void>((resolve) => timers.after(random.float() * 3, resolve));
      }
    };
    await simulation.runToEnd(disk.makeDirectory('/d').then(() => Promise.all([writer('a'), writer('b')])));
    return lines.join('\n');
  };
  assert.equal(await history(11), await history(11));
  assert.notEqual(await history(11), await history(12));
});

test('trip wires: real time and real chance throw while a simulation runs, and only then', async () => {
  const { simulation, machine } = universeOf(4);
  const tripped: string[] = [];
  const attempt = (name: string, use: () => unknown): void => {
    try {
      use();
    } catch (error) {
      assert.match((error as Error).message, /in a simulation; use/);
      tripped.push(name);
    }
  };
  machine.world.timers.after(1, () => {
    attempt('Date.now', () => Date.now());
    attempt('performance.now', () => performance.now());
    attempt('Math.random', () => Math.random());
    attempt('setTimeout', () => setTimeout(() => {}, 1));
    attempt('setImmediate', () => setImmediate(() => {}));
    attempt('randomUUID', () => crypto.randomUUID());
    attempt('WeakRef', () => new WeakRef({}));
  });
  await simulation.runFor(2);
  assert.deepEqual(tripped, [
    'Date.now',
    'performance.now',
    'Math.random',
    'setTimeout',
    'setImmediate',
    'randomUUID',
    'WeakRef',
  ]);
  assert.ok(Date.now() > 0 && performance.now() > 0 && Math.random() >= 0 && crypto.randomUUID().length === 36);
});

test('an error in a callback, or in a promise nobody waits for, ends the run', async () => {
  const first = universeOf(5);
  first.machine.world.timers.after(1, () => {
    throw new Error('in a callback');
  });
  await assert.rejects(first.simulation.runFor(10), /in a callback/);
  const second = universeOf(5);
  second.machine.world.timers.after(1, () => {
    void Promise.reject(new Error('in a promise'));
  });
  await assert.rejects(second.simulation.runFor(10), /in a promise/);
});

test('a run that cannot end says so, with its seed', async () => {
  const { simulation, machine } = universeOf(6);
  await assert.rejects(
    simulation.runUntil(() => false),
    /seed 6: nothing is left to happen/,
  );
  machine.world.timers.every(1, () => {});
  await assert.rejects(
    simulation.runUntil(() => false, { eventsMax: 10 }),
    /too many events \(event 10, 10 ms\)/,
  );
});

test('work for other threads is done here, in simulated time', async () => {
  const { simulation, machine } = universeOf(7);
  const result = await simulation.runToEnd(machine.world.workers.run('node:path', 'basename', ['/a/b']));
  assert.equal(result, 'b');
  assert.equal(simulation.nowMs, 5);
});

test('streams keep their order, through slow and cut links, to both ends', async () => {
  const { simulation, lan, universe, machine: server } = universeOf(8);
  const client = universe.addMachine('c');
  const received: string[] = [];
  let accepted: Socket | null = null;
  const listener = await simulation.runToEnd(
    server.world.network.listen({ host: 'm', port: 0 }, {}, (socket: Socket) => {
      accepted = socket;
      socket.start({
        data: (bytes, start, end) => received.push(bytes.toString('latin1', start, end)),
        written: () => {},
        ended: () => {
          received.push('<end>');
          socket.end();
        },
        closed: (error) => received.push(`<closed ${error}>`),
      });
    }),
  );
  const dialled = client.world.network.dial(listener.address);
  const seen: string[] = [];
  dialled.start({
    opened: () => {
      seen.push('opened');
      for (let piece = 0; piece < 20; piece++) dialled.write(Buffer.from(`${piece},`), 0, `${piece},`.length);
    },
    data: () => {},
    written: () => {},
    ended: () => seen.push('ended'),
    closed: (error) => seen.push(`closed ${error}`),
  });
  await simulation.runFor(1.5);
  lan.cut('c', 'm');
  await simulation.runFor(200);
  const before = received.join('');
  lan.heal('c', 'm');
  dialled.end();
  await simulation.runFor(200);
  assert.ok(accepted !== null);
  assert.ok(before.length < received.join('').length);
  assert.equal(
    received.join(''),
    `${Array.from({ length: 20 }, (_, piece) => `${piece},`).join('')}<end><closed null>`,
  );
  assert.deepEqual(seen, ['opened', 'ended', 'closed null']);
});

test('nobody there, a cut link and a crashed machine are told apart', async () => {
  const { simulation, universe, machine, lan } = universeOf(9);
  const other = universe.addMachine('o');
  const outcomes: string[] = [];
  const dial = (port: number, connectTimeoutMs: number): Socket => {
    const socket = machine.world.network.dial({ host: 'o', port }, { connectTimeoutMs });
    socket.start({
      opened: () => outcomes.push('opened'),
      data: () => {},
      written: () => {},
      ended: () => {},
      closed: (error) => outcomes.push((error as Error & { code: string }).code),
    });
    return socket;
  };
  await simulation.runToEnd(
    other.world.network.listen({ host: 'o', port: 1 }, {}, (socket: Socket) =>
      socket.start({ data: () => {}, written: () => {}, ended: () => {}, closed: () => assert.fail('it crashed') }),
    ),
  );
  dial(2, 1000);
  await simulation.runFor(10);
  lan.cut('o', 'm');
  dial(1, 1000);
  await simulation.runFor(2000);
  lan.healAll();
  dial(1, 1000);
  await simulation.runFor(10);
  other.crash();
  await simulation.runFor(10);
  assert.deepEqual(outcomes, ['ECONNREFUSED', 'ETIMEDOUT', 'opened', 'ECONNRESET']);
});

function universeOf(seed: number) {
  const universe = new SimUniverse(seed);
  return { universe, simulation: universe.simulation, lan: universe.lan, machine: universe.addMachine('m') };
}
