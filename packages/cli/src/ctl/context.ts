/** What a running command has at hand. */
import { readFileSync } from 'node:fs';
import { type CallOptions, type ClientOptions, EtcdClient, EtcdError, TimeoutError } from '@etsd/client';
import { catalogueError, GrpcCode } from '@etsd/proto';
import type { TlsOptions } from '@etsd/runtime';
import type { Program } from './command.ts';
import { applyEnvironment, variableOf } from './environment.ts';
import { badArguments, ExitCode, Failure } from './failure.ts';
import type { FlagValues, Parsed } from './flags.ts';
import { GLOBAL_FLAGS } from './global-flags.ts';
import { askPassword } from './terminal.ts';
import { render, type Style, styleOf, type View } from './view.ts';

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { isTTY?: boolean };
}

/** Ways to reach a cluster, as the flags give them. */
export interface Connection {
  readonly endpoints: readonly string[];
  readonly cert: string;
  readonly key: string;
  readonly cacert: string;
  readonly insecureTransport: boolean;
  readonly insecureSkipVerify: boolean;
  /** What certificates have to be for, where that is not the host of an endpoint. */
  readonly serverName?: string;
  readonly user: string;
  readonly password: string;
  /** Instead of a user: a token got elsewhere. */
  readonly token?: string;
}

export class Context {
  readonly flags: FlagValues;
  readonly args: readonly string[];
  /** How many of `args` came before `--`; −1 without one. */
  readonly beforeDash: number;
  readonly surroundings: Surroundings;
  readonly program: Program;
  private readonly clients: EtcdClient[] = [];
  private known: Style | null = null;
  private standing: EtcdClient | null = null;

  constructor(parsed: Parsed, surroundings: Surroundings, program: Program) {
    this.program = program;
    this.flags = parsed.values;
    this.args = parsed.args;
    this.beforeDash = parsed.beforeDash;
    this.surroundings = surroundings;
  }

  // ── connections ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Looks at the environment and at what all commands share. Flags that cannot be are refused here. */
  prepare(): void {
    if (this.known !== null) return;
    const { flags, program } = this;
    const knows = (name: string): boolean => program.globalFlags.some((each) => each.name === name);
    if (knows('endpoints')) applyEnvironment(flags, this.surroundings.env, (text) => this.warn(text));
    if (knows('debug') && flags.flag('debug')) this.warn(settingsText(flags));
    this.known = styleOf(flags.text('write-out'), knows('hex') && flags.flag('hex'), flags.text('compat'));
  }

  /** The client of the cluster that the global flags name, logged in where they name a user. */
  async client(): Promise<EtcdClient> {
    if (this.standing !== null) return this.standing;
    this.prepare();
    const { flags } = this;
    for (const name of ['cert', 'key', 'cacert']) {
      if (flags.isGiven(name) && flags.text(name) === '') {
        throw badArguments(`empty string is passed to --${name} option`, `write --${name}=FILE`);
      }
    }
    this.standing = await this.connect({
      endpoints: await this.endpoints(),
      cert: flags.text('cert'),
      key: flags.text('key'),
      cacert: flags.text('cacert'),
      insecureTransport: flags.flag('insecure-transport'),
      insecureSkipVerify: flags.flag('insecure-skip-tls-verify'),
      // Whoever answers for the records of a domain could name any host: it is the domain that is to be certified.
      serverName: flags.flag('insecure-discovery') ? '' : flags.text('discovery-srv'),
      user: flags.text('user'),
      password: flags.text('password'),
      token: flags.text('auth-jwt-token'),
    });
    return this.standing;
  }

  private async endpoints(): Promise<readonly string[]> {
    const domain = this.flags.text('discovery-srv');
    if (domain === '' || this.flags.isGiven('endpoints')) return this.flags.list('endpoints');
    const { discoverEndpoints } = await import('./discovery.ts');
    const found = await discoverEndpoints(domain, this.flags.text('discovery-srv-name'));
    return this.flags.flag('insecure-discovery') ? found : found.filter((each) => each.startsWith('https://'));
  }

  /** A client that is closed when the command ends. */
  async connect(connection: Connection): Promise<EtcdClient> {
    const { flags } = this;
    if (connection.user !== '' && (connection.token ?? '') !== '') {
      throw badArguments(
        '--user and --auth-jwt-token cannot be given together',
        'a token stands for its user: give it alone',
      );
    }
    const user = await this.user(connection);
    const tls = tlsOf(connection);
    const options: ClientOptions = {
      endpoints: connection.endpoints,
      dialTimeoutMs: flags.waitMs('dial-timeout'),
      keepaliveMs: flags.waitMs('keepalive-time'),
      keepaliveTimeoutMs: flags.waitMs('keepalive-timeout'),
      timeoutMs: 0,
      ...(tls === null ? {} : { tls }),
      ...(user === null ? {} : { user }),
      ...(connection.token === undefined ? {} : { token: connection.token }),
    };
    if (connection.endpoints.length === 0) {
      const hint = 'write --endpoints=HOST:PORT, several with commas between';
      throw new Failure(ExitCode.BAD_CONNECTION, 'etcdclient: no available endpoints', hint);
    }
    let client: EtcdClient;
    try {
      client = new EtcdClient(options);
    } catch (error) {
      throw new Failure(ExitCode.BAD_CONNECTION, (error as Error).message, '', { cause: error });
    }
    this.clients.push(client);
    if (user !== null) {
      try {
        await client.login({ timeoutMs: flags.waitMs('dial-timeout') });
      } catch (error) {
        throw failureOf(error, ExitCode.BAD_CONNECTION);
      }
    }
    return client;
  }

  private async user(connection: Connection): Promise<{ name: string; password: string } | null> {
    if (connection.user === '') return null;
    if (connection.password !== '') return { name: connection.user, password: connection.password };
    const colon = connection.user.indexOf(':');
    if (colon >= 0) return { name: connection.user.slice(0, colon), password: connection.user.slice(colon + 1) };
    return { name: connection.user, password: await askPassword('Password: ', this.surroundings) };
  }

  /** Options of a call that is expected to be short. */
  get short(): CallOptions {
    return { timeoutMs: this.flags.waitMs('command-timeout') };
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.close();
  }

  // ── output ────────────────────────────────────────────────────────────────────────────────────────────────────────

  get style(): Style {
    this.prepare();
    return this.known as Style;
  }

  print(view: View): void {
    const output = render(view, this.style);
    const isBytes = typeof output === 'string' && view.simpleIsBytes === true && this.style.format === 'simple';
    this.write(isBytes ? Buffer.from(output, 'latin1') : output);
  }

  write(output: string | Buffer): void {
    this.surroundings.stdout.write(output);
  }

  line(text: string): void {
    this.write(`${text}\n`);
  }

  warn(text: string): void {
    this.surroundings.stderr.write(`${text}\n`);
  }
}

/** The global flags as the variables that would set them; secrets stay secret. */
function settingsText(flags: FlagValues): string {
  const shown = (name: string): string => {
    const text = flags.text(name);
    if ((name === 'password' || name === 'auth-jwt-token') && text !== '') return '***';
    return name === 'user' ? text.replace(/:.*$/, ':***') : text;
  };
  return GLOBAL_FLAGS.map(({ name }) => `${variableOf(name)}=${shown(name)}`).join('\n');
}

/** What a thrown value means for the program's end. */
export function failureOf(error: unknown, exitCode: number = ExitCode.ERROR): Failure {
  if (error instanceof Failure) return error;
  if (!(error instanceof EtcdError)) throw error;
  const cause = error instanceof TimeoutError && error.cause instanceof Error ? error.cause : null;
  return new Failure(exitCode, wordsOf(error), cause === null ? '' : `last seen: ${cause.message}`, { cause: error });
}

/** An error as etcdctl words it: what a server says beyond the errors that etcd's clients know is shown with its code. */
function wordsOf(error: EtcdError): string {
  const isOurs = error.constructor !== EtcdError;
  const known = catalogueError(error.message);
  if (isOurs || (known !== undefined && known.code !== GrpcCode.Unknown)) return error.message;
  const name = Object.entries(GrpcCode).find(([, code]) => code === error.code)?.[0] ?? `Code(${error.code})`;
  return `rpc error: code = ${name} desc = ${error.message}`;
}

function tlsOf(connection: Connection): TlsOptions | null {
  const { cacert, cert, insecureSkipVerify, insecureTransport, key, serverName = '' } = connection;
  const given = cert !== '' || key !== '' || cacert !== '' || serverName !== '';
  if ((cert === '') !== (key === '')) {
    throw badArguments(
      `KeyFile and CertFile must both be present[key: ${key}, cert: ${cert}]`,
      'give --cert and --key',
    );
  }
  if (!given && insecureTransport) return null;
  return {
    insecureSkipVerify,
    ...(serverName === '' ? {} : { serverName }),
    ...(cacert === '' ? {} : { ca: read(cacert) }),
    ...(cert === '' ? {} : { cert: read(cert), key: read(key) }),
  };
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw badArguments(`open ${path}: ${reasonOf(error)}`);
  }
}

/** An error of the file system in etcdctl's words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file or directory';
  if (code === 'EACCES') return 'permission denied';
  if (code === 'EISDIR') return 'is a directory';
  return message;
}
