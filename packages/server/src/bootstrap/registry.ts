/** The registry of a discovery token, in a store reached over gRPC at any of several endpoints. */
import { OperatorError, prefixEnd } from '@etsd/base';
import { AuthenticateRequest, AuthenticateResponse, PutRequest, RangeRequest, RangeResponse } from '@etsd/proto';
import { GrpcChannel, Metadata, RpcError, StatusCode } from '@etsd/rpc';
import type { TlsOptions, World } from '@etsd/runtime';
import type { MemberConfig } from '../config/config.ts';
import { isSecure } from '../config/validate-tls.ts';
import { parseEndpoint } from '../config/values.ts';
import { socketAddressOf } from '../listeners.ts';
import type { Registration, Registry } from './discovery.ts';
import type { BootstrapParts } from './surroundings.ts';

const REGISTRY = '/_etcd/registry';

/** The store under the configured endpoints; nothing is dialled yet. */
export async function openRegistry({ world, config }: BootstrapParts): Promise<Registry> {
  const tls = await loadTls(world, config);
  const channels = config.discoveryEndpoints.map((endpoint) => channelTo(world, config, tls, endpoint));
  return new StoreRegistry(channels, config);
}

function channelTo(world: World, config: MemberConfig, tls: TlsOptions | null, endpoint: string): GrpcChannel {
  const { discovery } = config;
  const hasScheme = endpoint.includes('://');
  const parsed = parseEndpoint(hasScheme ? endpoint : `${tls === null ? 'http' : 'https'}://${endpoint}`);
  return new GrpcChannel(world, socketAddressOf(parsed), {
    dial: {
      connectTimeoutMs: discovery.dialTimeoutMs,
      ...(isSecure(parsed) ? { tls: { ...(tls ?? {}), alpn: ['h2'] } } : {}),
    },
    keepaliveMs: discovery.keepaliveTimeMs,
    keepaliveTimeoutMs: discovery.keepaliveTimeoutMs,
  });
}

/** Null where nothing speaks for TLS: endpoints without a scheme are then plain. */
async function loadTls(world: World, { discovery }: MemberConfig): Promise<TlsOptions | null> {
  const { certFile, keyFile, caFile } = discovery;
  if (certFile === '' && keyFile === '' && caFile === '' && discovery.insecureTransport) return null;
  return {
    ...(certFile === '' ? {} : { cert: await readPem(world, '--discovery-cert', certFile) }),
    ...(keyFile === '' ? {} : { key: await readPem(world, '--discovery-key', keyFile) }),
    ...(caFile === '' ? {} : { ca: await readPem(world, '--discovery-cacert', caFile) }),
    insecureSkipVerify: discovery.insecureSkipTlsVerify,
  };
}

async function readPem(world: World, flag: string, path: string): Promise<Buffer> {
  try {
    return await world.disk.readFile(path);
  } catch (error) {
    throw new OperatorError(`${flag} ${path} cannot be read`, 'Check the path and its permissions.', { cause: error });
  }
}

class StoreRegistry implements Registry {
  private readonly channels: readonly GrpcChannel[];
  private readonly timeoutMs: number;
  private readonly user: string;
  private readonly password: string;
  private readonly prefix: string;
  /** Of the user, once one was given. */
  private token: Metadata | null = null;
  /** The endpoint that answered last. */
  private current = 0;

  constructor(channels: readonly GrpcChannel[], { discovery, discoveryToken }: MemberConfig) {
    const colon = discovery.user.indexOf(':');
    this.channels = channels;
    this.timeoutMs = discovery.requestTimeoutMs;
    this.user = colon < 0 || discovery.password !== '' ? discovery.user : discovery.user.slice(0, colon);
    this.password = colon < 0 || discovery.password !== '' ? discovery.password : discovery.user.slice(colon + 1);
    this.prefix = `${REGISTRY}/${discoveryToken}`;
  }

  async size(): Promise<string | null> {
    const [found] = (await this.range(`${this.prefix}/_config/size`, false)).kvs;
    return found === undefined ? null : found.value.toString('utf8').trim();
  }

  async members(): Promise<Registration[]> {
    const prefix = `${this.prefix}/members`;
    const { kvs } = await this.range(prefix, true);
    return kvs.map(({ key, value, createRevision }) => ({
      id: key.toString('utf8').slice(prefix.length + 1),
      value: value.toString('utf8').trim(),
      createRevision,
    }));
  }

  async register(id: string, value: string): Promise<void> {
    const key = Buffer.from(`${this.prefix}/members/${id}`);
    await this.call('/etcdserverpb.KV/Put', PutRequest.encode(PutRequest.create({ key, value: Buffer.from(value) })));
  }

  close(): void {
    for (const channel of this.channels) channel.close();
  }

  private async range(key: string, isPrefix: boolean): Promise<RangeResponse> {
    const bytes = Buffer.from(key);
    const rangeEnd = isPrefix ? Buffer.from(prefixEnd(bytes.toString('latin1')), 'latin1') : Buffer.alloc(0);
    const request = RangeRequest.encode(RangeRequest.create({ key: bytes, rangeEnd }));
    return RangeResponse.decode(await this.call('/etcdserverpb.KV/Range', request));
  }

  /** Asks the endpoints in turn, beginning with the one that answered last, until one can be reached. */
  private async call(path: string, request: Buffer): Promise<Buffer> {
    let last: unknown = null;
    for (let attempt = 0; attempt < this.channels.length; attempt++) {
      const channel = this.channels[this.current] as GrpcChannel;
      try {
        if (this.user !== '' && this.token === null) this.token = await this.authenticate(channel);
        return await channel.unary(path, request, { metadata: this.token, timeoutMs: this.timeoutMs });
      } catch (error) {
        last = error;
        if (!(error instanceof RpcError)) throw error;
        if (error.code === StatusCode.UNAUTHENTICATED && this.token !== null) this.token = null;
        else if (!isElsewhereBetter(error.code)) throw error;
        this.current = (this.current + 1) % this.channels.length;
      }
    }
    throw last;
  }

  private async authenticate(channel: GrpcChannel): Promise<Metadata> {
    const credentials = AuthenticateRequest.create({ name: this.user, password: this.password });
    const path = '/etcdserverpb.Auth/Authenticate';
    const answer = await channel.unary(path, AuthenticateRequest.encode(credentials), { timeoutMs: this.timeoutMs });
    return Metadata.of({ token: AuthenticateResponse.decode(answer).token });
  }
}

/** Whether another endpoint may answer what this one did not. */
function isElsewhereBetter(code: number): boolean {
  return code === StatusCode.UNAVAILABLE || code === StatusCode.DEADLINE_EXCEEDED || code === StatusCode.CANCELLED;
}
