/**
 * Many logins at the default cost of bcrypt, and what they do to others, whose clients are processes of their own:
 *
 *     node tests/auth/logins.ts [--logins 10000] [--users 100] [--servers etcd,etsd] [--seconds 60]
 *                               [--rounds 1] [--quiet-seconds 5] [--data-root DIR]
 *
 * For each server, in one run: one login of each user, then by turns windows of other clients' puts alone and of the same
 * puts beside a round's part of the logins. Prints logins a second and the puts' 99th percentile, medians of the rounds.
 * From three rounds on it also says by how much the puts of a window with logins were slower than those of its two
 * neighbours without, and, to tell what that means, the same of a window without logins and its two neighbours without.
 * Whoever logs in does so from a processor of the clients, when nobody else wants it: he would have a machine of his own.
 * `--data-root /dev/shm` keeps out what the machine's disk does meanwhile.
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
  /** Where the server has its data; default: where the system has temporary files. */
  readonly dataRoot?: string | undefined;
  readonly flags?: readonly string[];
}

export interface LoginResult {
  readonly product: Product;
  readonly logins: number;
  readonly loginsPerSecond: number;
  /** Of puts by clients that have logged in, in milliseconds: alone, and beside the logins. */
  readonly quietP99Ms: number;
  readonly busyP99Ms: number;
  /** The 99th percentile of each window with logins, as a multiple of that of the windows beside it; and the same of those without. */
  readonly ratios: readonly number[];
  readonly noise: readonly number[];
}

const CONNECTIONS = 20;
const AT_ONCE = 100;
const PUTTERS = 4;
const PUT_EVERY_MS = 5;
const AUTHENTICATE = '/etcdserverpb.Auth/Authenticate';

export async function measureLogins(product: Product, load: LoginLoad): Promise<LoginResult> {
  const apart = standApart();
  apart?.toMember();
  const { dataRoot } = load;
  const place = dataRoot === undefined ? {} : { dataRoot };
  const server = await startServer({ product, flags: [...(load.flags ?? [])], ...place });
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
    if (rounds > 1) quiet.push(await puts.run(load.quietSeconds));
    puts.close();
    const ratios = busy.map((p99, round) => besides(p99, quiet[round], quiet[round + 1]));
    const noise = quiet.slice(1, -1).map((p99, round) => besides(p99, quiet[round], quiet[round + 2]));
    const [quietP99Ms, busyP99Ms] = [middle(quiet), middle(busy)];
    return { product, logins: all.done, loginsPerSecond: all.done / all.seconds, quietP99Ms, busyP99Ms, ratios, noise };
  } finally {
    clients.end();
    await server.dispose();
  }
}

function besides(p99: number, before = Number.NaN, behind = before): number {
  return p99 / Math.sqrt(before * behind);
}

/**
 * The median, and between which two of the values that of all such windows is with a probability of 95 % or a little more:
 * half of them are below it, each as by the toss of a coin.
 */
function spread(values: readonly number[]): string {
  const sorted = [...values].sort((left, right) => left - right);
  const count = sorted.length;
  let cut = 0;
  let chance = 2 ** -count;
  for (let below = chance; below <= 0.025 && cut < count / 2 - 1; below += chance) {
    cut++;
    chance *= (count - cut + 1) / cut;
  }
  const at = (index: number): string => (sorted[index] as number).toFixed(2);
  const low = Math.max(0, cut - 1);
  return `${middle(values).toFixed(2)} times (${at(low)} … ${at(count - 1 - low)} by ${count} windows)`;
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
      const ended = (code: number | null) => reject(new Error(`the clients that log in ended with ${code}`));
      this.child.once('exit', ended);
      this.child.once('message', (answer) => {
        this.child.off('exit', ended);
        resolve(answer);
      });
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
      'quiet-seconds': { type: 'string', default: '5' },
      'data-root': { type: 'string' },
    },
  });
  const load = {
    users: Number(values.users),
    logins: Number(values.logins),
    seconds: Number(values.seconds),
    quietSeconds: Number(values['quiet-seconds']),
    rounds: Number(values.rounds),
    dataRoot: values['data-root'],
  };
  const rates = new Map<string, number>();
  for (const product of values.servers.split(',') as Product[]) {
    const { logins, loginsPerSecond, quietP99Ms, busyP99Ms, ratios, noise } = await measureLogins(product, load);
    rates.set(product, loginsPerSecond);
    const puts = `p99 of puts ${quietP99Ms.toFixed(2)} ms alone, ${busyP99Ms.toFixed(2)} ms beside the logins`;
    console.log(`${product}: ${logins} logins, ${loginsPerSecond.toFixed(0)} a second; ${puts}`);
    if (noise.length > 1) console.log(`  beside logins: ${spread(ratios)}; without: ${spread(noise)}`);
  }
  const [etcd, etsd] = [rates.get('etcd'), rates.get('etsd')];
  if (etcd !== undefined && etsd !== undefined) {
    console.log(`etsd / etcd: ${(etsd / etcd).toFixed(1)} (bound: 20)`);
    if (etsd / etcd < 20) process.exitCode = 1;
  }
}
