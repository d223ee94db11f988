import { GrpcChannel, Metadata, RpcError } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';
import { Client, canonical, type Message, methodOf, type Outcome } from '../support/client.ts';
import { MEMORY_ROOT, type Product, startServer, type TestServer } from '../support/server.ts';
import { type Ask, ROLES, USERS } from './requests.ts';

/** A request that takes longer is lost; a machine may be busy with other things for a while. */
const PATIENCE_MS = 120_000;
const STREAM_MS = 10_000;

/** A server with users, its authentication on. */
export class Side {
  readonly client: Client;
  /** Of each user; the empty name is nobody's. */
  readonly tokens = new Map<string, string>();
  private readonly server: TestServer;
  /** For tens of thousands of requests: it takes a tenth of what the other client does. */
  private readonly channel: GrpcChannel;

  private constructor(server: TestServer) {
    this.server = server;
    this.client = new Client(server.address);
    this.channel = new GrpcChannel(nodeWorld(), { host: '127.0.0.1', port: server.clientPort });
  }

  /** What the server has printed. */
  get logs(): readonly string[] {
    return this.server.logs;
  }

  /** Root with all rights, the users with none. */
  static async start(product: Product, flags: readonly string[] = []): Promise<Side> {
    // etcd looks users up where changes may come late, until its next commit: there is one after each of them.
    const late = product === 'etcd' ? ['--backend-batch-limit=1', '--unsafe-no-fsync'] : [];
    const options = { product, dataRoot: MEMORY_ROOT, flags: ['--bcrypt-cost=4', ...late, ...flags] };
    const side = new Side(await startServer(options));
    try {
      await side.setUp();
    } catch (error) {
      await side.dispose();
      throw error;
    }
    return side;
  }

  private async setUp(): Promise<void> {
    const { client } = this;
    for (const name of ['root', ...USERS]) await client.expect('Auth/UserAdd', { name, password: `pw-${name}` });
    for (const name of ROLES) await client.expect('Auth/RoleAdd', { name });
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    for (const [index, user] of USERS.entries()) {
      await client.expect('Auth/UserGrantRole', { user, role: ROLES[index] });
    }
    await client.expect('Auth/AuthEnable', {});
    for (const name of ['root', ...USERS]) await this.logIn(name);
  }

  async logIn(name: string): Promise<void> {
    const response = await this.client.expect('Auth/Authenticate', { name, password: `pw-${name}` });
    this.tokens.set(name, response['token'] as string);
  }

  /** What the server decides, as `code message`; for a watch the reason why it was cancelled. */
  async decide(user: string, ask: Ask): Promise<string> {
    const token = this.tokens.get(user);
    const headers = token === undefined ? {} : { token };
    if (ask.stream !== true) return await this.decideOne(ask, headers);
    const stream = this.client.stream(ask.method, headers);
    try {
      stream.send(ask.message);
      // The others take one request.
      if (ask.method !== 'Watch/Watch' && ask.method !== 'Lease/LeaseKeepAlive') stream.halfClose();
      const isAnswered = () => stream.received.length > 0 || stream.ended !== null;
      await stream.until(STREAM_MS, 'an answer', isAnswered);
      const answer = stream.received[0] as Message | undefined;
      return answer === undefined ? told(stream.ended as Outcome) : `0 ${answer['cancel_reason'] ?? ''}`;
    } finally {
      stream.cancel();
    }
  }

  private async decideOne({ method, message }: Ask, headers: Readonly<Record<string, string>>): Promise<string> {
    const { path, requestSerialize } = methodOf(method);
    const bytes = requestSerialize(canonical(message));
    try {
      await this.channel.unary(path, bytes, { metadata: Metadata.of(headers), timeoutMs: PATIENCE_MS });
      return '0 ';
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return `${error.code} ${error.message}`;
    }
  }

  async asRoot(method: string, message: Message): Promise<Message> {
    const {
      code,
      message: text,
      response,
    } = await this.client.call(method, message, PATIENCE_MS, {
      token: this.tokens.get('root') ?? '',
    });
    if (response === null) throw new Error(`${method}: ${code} ${text}`);
    return response;
  }

  async dispose(): Promise<void> {
    this.client.close();
    this.channel.close();
    await this.server.dispose();
  }
}

function told({ code, message }: Outcome): string {
  return `${code} ${message}`;
}
