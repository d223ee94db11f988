/**
 * Many logins at the default cost of bcrypt, and what they do to others, whose clients are processes of their own:
 *
 *     node tests/auth/logins.ts [--logins 10000] [--users 100] [--servers etcd,etsd] [--seconds 60]
 *                               [--rounds 1]
 *
 * For each server, in one run: one login of each user, then in each round the puts of other clients alone and the same puts
 * beside a round's part of the logins. Prints logins a second and the puts' 99th percentile, medians of the rounds. Whoever
 * logs in does so from a processor of the clients, when nobody else wants it: he would have a machine of his own.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { AuthenticateRequest, PutRequest } from '@etsd/proto';
import { GrpcChannel, Metadata } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import { standApart } from '../hostile/attacks/apart.ts';
import { type Product, startServer, type TestServer } from '../support/server.ts';

export interface LoginLoad {
  readonly users: number;
  readonly logins: number;
  /** After this long the logins end, however many there were. */
  readonly seconds: number;
  /** Seconds of puts alone, before. */
  readonly quietSeconds: number;
  /** Times that puts alone are followed by a part of the logins; default: once. */
  readonly rounds?: number;
  readonly flags?: readonly string[];
}

export interface LoginResult {
  readonly product: Product;
  readonly logins: number;
  readonly loginsPerSecond: number;
  /** Of puts by clients that have logged in, in milliseconds: alone, and beside the logins. */
  readonly quietP99Ms: number;
  readonly busyP99Ms: number;
}

const CONNECTIONS = 20;
const AT_ONCE = 100;
const PUTTERS = 4;
const PUT_EVERY_MS = 5;
const AUTHENTICATE = '/etcdserverpb.Auth/Authenticate';

export async function measureLogins(product: Product, load: LoginLoad): Promise<LoginResult> {
  const apart = standApart();
  apart?.toMember();
  const server = await startServer({ product, flags: [...(load.flags ?? [])] });
  apart?.toClients();
  const rounds = load.rounds ?? 1;
  const part = { ...load, logins: Math.ceil(load.logins / rounds), seconds: load.seconds / rounds };
  const clients = new LoginClients(server.clientPort, part, apart?.attacker ?? []);
  try {
    const token = await prepare(server, load.users);
    const puts = new Puts(new GrpcChannel(nodeWorld(), { host: '127.0.0.1', port: server.clientPort }), token);
    await puts.run(1);
    await clients.verify();
    const quiet: number[] = [];
    const busy: number[] = [];
    const all = { done: 0, seconds: 0 };
    for (let round = 0; round < rounds; round++) {
      quiet.push(await puts.run(load.quietSeconds));
      let isBusy = true;
      const beside = puts.runWhile(() => isBusy);
      const { done, seconds } = await clients.run();
      isBusy = false;
      busy.push(await beside);
      all.done += done;
      all.seconds += seconds;
    }
    puts.close();
    const [quietP99Ms, busyP99Ms] = [middle(quiet), middle(busy)];
    return { product, logins: all.done, loginsPerSecond: all.done / all.seconds, quietP99Ms, busyP99Ms };
  } finally {
    clients.end();
    await server.dispose();
  }
}

function middle(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1] as number;
}

interface LoginOrder {
  readonly port: number;
  readonly load: LoginLoad;
}

interface LoginsDone {
  readonly done: number;
  readonly seconds: number;
}

/** The clients that log in, in a process of their own: what they take is not what the others feel of the server. */
class LoginClients {
  private readonly child: ChildProcess;

  /** `place`: the command that runs another where clients are. */
  constructor(port: number, load: LoginLoad, place: readonly string[]) {
    const [execPath = process.execPath, ...execArgv] = [...place, process.execPath];
    this.child = fork(fileURLToPath(import.meta.url), ['--clients', JSON.stringify({ port, load })], {
      execPath,
      execArgv,
    });
  }

  /** One login of each user. */
  async verify(): Promise<void> {
    await this.ask('verify');
  }

  async run(): Promise<LoginsDone> {
    return (await this.ask('run')) as LoginsDone;
  }

  private ask(what: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.child.once('exit', (code) => reject(new Error(`the clients that log in ended with ${code}`)));
      this.child.once('message', resolve);
      this.child.send(what);
    });
  }

  end(): void {
    this.child.removeAllListeners('exit');
    this.child.kill('SIGKILL');
  }
}

function serveOrders({ port, load }: LoginOrder): void {
  const world = nodeWorld();
  const channels = Array.from({ length: CONNECTIONS }, () => new GrpcChannel(world, { host: '127.0.0.1', port }));
  const login = async (index: number): Promise<void> => {
    const user = index % load.users;
    const request = AuthenticateRequest.create({ name: `user-${user}`, password: `password-${user}` });
    const channel = channels[index % CONNECTIONS] as GrpcChannel;
    await channel.unary(AUTHENTICATE, AuthenticateRequest.encode(request), { timeoutMs: 120_000 });
  };
  const verify = async (): Promise<null> => {
    for (let user = 0; user < load.users; user += 4) {
      await Promise.all([0, 1, 2, 3].map((more) => login(Math.min(load.users - 1, user + more))));
    }
    return null;
  };
  const run = async (): Promise<LoginsDone> => {
    let begun = 0;
    let done = 0;
    const started = performance.now();
    const isOver = () => begun >= load.logins || performance.now() - started > load.seconds * 1000;
    const workers = Array.from({ length: AT_ONCE }, async () => {
      while (!isOver()) {
        await login(begun++);
        done++;
      }
    });
    await Promise.all(workers);
    return { done, seconds: (performance.now() - started) / 1000 };
  };
  process.on('message', (what) => {
    void (what === 'run' ? run() : verify()).then((result) => process.send?.(result));
  });
  process.on('disconnect', () => process.exit(0));
}

/** Users with a password each, and root's token. */
async function prepare(server: TestServer, users: number): Promise<string> {
  const client = server.connect();
  try {
    await client.expect('Auth/UserAdd', { name: 'root', password: 'root' });
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    for (let user = 0; user < users; user += 4) {
      const some = [0, 1, 2, 3].map((more) => user + more).filter((each) => each < users);
      const add = (each: number) =>
        client.expect('Auth/UserAdd', { name: `user-${each}`, password: `password-${each}` });
      await Promise.all(some.map(add));
    }
    await client.expect('Auth/AuthEnable', {});
    const { token } = await client.expect('Auth/Authenticate', { name: 'root', password: 'root' });
    return token as string;
  } finally {
    client.close();
  }
}

/** A few clients that put at a steady pace. */
class Puts {
  private readonly channel: GrpcChannel;
  private readonly metadata: Metadata;

  constructor(channel: GrpcChannel, token: string) {
    this.channel = channel;
    this.metadata = Metadata.of({ token });
  }

  run(seconds: number): Promise<number> {
    const until = performance.now() + seconds * 1000;
    return this.runWhile(() => performance.now() < until);
  }

  /** The 99th percentile of their times, from when each was due. */
  async runWhile(goesOn: () => boolean): Promise<number> {
    const times: number[] = [];
    const body = PutRequest.encode(PutRequest.create({ key: Buffer.from('key'), value: Buffer.alloc(100, 'v') }));
    const putter = async () => {
      let due = performance.now();
      while (goesOn()) {
        await this.channel.unary('/etcdserverpb.KV/Put', body, { metadata: this.metadata, timeoutMs: 60_000 });
        times.push(performance.now() - due);
        due += PUT_EVERY_MS;
        const wait = due - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
        else due = performance.now();
      }
    };
    await Promise.all(Array.from({ length: PUTTERS }, putter));
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length * 0.99)] ?? 0;
  }

  close(): void {
    this.channel.close();
  }
}

if (process.argv[2] === '--clients') serveOrders(JSON.parse(process.argv[3] as string) as LoginOrder);
else if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      logins: { type: 'string', default: '10000' },
      users: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '60' },
      servers: { type: 'string', default: 'etcd,etsd' },
      rounds: { type: 'string', default: '1' },
    },
  });
  const load = {
    users: Number(values.users),
    logins: Number(values.logins),
    seconds: Number(values.seconds),
    quietSeconds: 5,
    rounds: Number(values.rounds),
  };
  const rates = new Map<string, number>();
  for (const product of values.servers.split(',') as Product[]) {
    const { logins, loginsPerSecond, quietP99Ms, busyP99Ms } = await measureLogins(product, load);
    rates.set(product, loginsPerSecond);
    const puts = `p99 of puts ${quietP99Ms.toFixed(2)} ms alone, ${busyP99Ms.toFixed(2)} ms beside the logins`;
    console.log(`${product}: ${logins} logins, ${loginsPerSecond.toFixed(0)} a second; ${puts}`);
  }
  const [etcd, etsd] = [rates.get('etcd'), rates.get('etsd')];
  if (etcd !== undefined && etsd !== undefined) {
    console.log(`etsd / etcd: ${(etsd / etcd).toFixed(1)} (bound: 20)`);
    if (etsd / etcd < 20) process.exitCode = 1;
  }
}
