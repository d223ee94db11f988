/**
 * What a small unary call costs the server: calls a second and microseconds of CPU a call (all threads, kernel included)
 * at several numbers of connections and calls at a time. Run with `node packages/rpc/src/rpc.bench.ts [seconds]`.
 *
 * The server runs in a process of its own; so its figure does not depend on what the load costs.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { nodeWorld } from '@etsd/runtime/node';
import { type CallReceiver, type ClientCall, GrpcChannel, RpcServer } from './index.ts';

const METHOD = '/bench.Bench/Call';
const REQUEST = Buffer.alloc(80, 1);
const RESPONSE = Buffer.alloc(30, 2);
const world = nodeWorld();

/** The child: serves, and tells its CPU time when asked. */
async function serve(): Promise<void> {
  const server = new RpcServer(world);
  server.handle(METHOD, {
    kind: 'unary',
    message(call) {
      call.begin(RESPONSE.length);
      RESPONSE.copy(call.target.buffer, call.target.offset);
      call.commit();
      call.end();
    },
  });
  const listener = await server.listen({ host: '127.0.0.1', port: 0 });
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ user, system });
  });
  process.send?.({ port: 'port' in listener.address ? listener.address.port : 0 });
}

/** One client that calls again as soon as it is answered. */
class Caller implements CallReceiver {
  static answered = 0;
  static stop = false;
  private readonly channel: GrpcChannel;

  constructor(channel: GrpcChannel) {
    this.channel = channel;
  }

  call(): void {
    this.channel.start(METHOD, this).sendLast(REQUEST);
  }

  message(): void {}

  closed(_call: ClientCall, code: number, message: string): void {
    if (Caller.stop) return;
    if (code !== 0) throw new Error(`call failed: ${code} ${message}`);
    Caller.answered++;
    this.call();
  }
}

function ask<T>(child: ChildProcess): Promise<T> {
  const answer = new Promise<T>((resolve) => child.once('message', (message) => resolve(message as T)));
  child.send('cpu');
  return answer;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function measure(connections: number, callsEach: number, seconds: number): Promise<void> {
  const child = fork(import.meta.filename, ['serve']);
  const { port } = await new Promise<{ port: number }>((resolve) => {
    child.once('message', (message) => resolve(message as { port: number }));
  });
  const channels: GrpcChannel[] = [];
  Caller.stop = false;
  for (let i = 0; i < connections; i++) {
    const channel = new GrpcChannel(world, { host: '127.0.0.1', port });
    channels.push(channel);
    for (let j = 0; j < callsEach; j++) new Caller(channel).call();
  }
  await sleep(1000);
  const before = await ask<{ user: number; system: number }>(child);
  const [answered, start] = [Caller.answered, process.hrtime.bigint()];
  const own = process.cpuUsage();
  await sleep(seconds * 1000);
  const calls = Caller.answered - answered;
  const elapsed = Number(process.hrtime.bigint() - start) / 1e9;
  const { user, system } = process.cpuUsage(own);
  const after = await ask<{ user: number; system: number }>(child);
  Caller.stop = true;
  for (const channel of channels) channel.close();
  child.kill();
  const server = [(after.user - before.user) / calls, (after.system - before.system) / calls] as const;
  console.log(
    `${String(connections).padStart(4)} connections × ${String(callsEach).padStart(3)} calls: ` +
      `${(calls / elapsed / 1000).toFixed(0).padStart(4)}k/s, server ${(server[0] + server[1]).toFixed(2)} µs a call ` +
      `(${server[0].toFixed(2)} user, ${server[1].toFixed(2)} kernel), client ${((user + system) / calls).toFixed(2)}`,
  );
}

if (process.argv[2] === 'serve') await serve();
else {
  const seconds = Number(process.argv[2] ?? 2);
  for (const [connections, calls] of [
    [1, 1],
    [10, 10],
    [100, 1],
    [100, 10],
    [1000, 1],
  ] as const) {
    await measure(connections, calls, seconds);
  }
}
