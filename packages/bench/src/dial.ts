/** Connections by our own client, with TLS where the endpoint says https. */
import { readFileSync } from 'node:fs';
import { ChannelState, GrpcChannel } from '@etsd/rpc';
import type { DialOptions, SocketAddress, TlsOptions } from '@etsd/runtime';
import { nodeWorld } from '@etsd/runtime/node';
import type { Dial, LoadChannel } from './channel.ts';
import { dialNode } from './node-channel.ts';
import type { LoadOptions } from './options.ts';

const world = nodeWorld();

/** `host:port`, `http://host:port`, `https://host:port` or `unix:path`. */
export function parseEndpoint(endpoint: string): { address: SocketAddress; secure: boolean } {
  if (endpoint.startsWith('unix:')) return { address: { path: endpoint.slice(5).replace(/^\/\//, '') }, secure: false };
  const match = /^(?:(https?):\/\/)?(.+):(\d+)$/.exec(endpoint);
  if (match === null) throw new Error(`${endpoint} is no endpoint: host:port is wanted`);
  const host = (match[2] as string).replace(/^\[(.*)\]$/, '$1');
  return { address: { host, port: Number(match[3]) }, secure: match[1] === 'https' };
}

function tlsOf(options: LoadOptions): TlsOptions {
  return {
    alpn: ['h2'],
    insecureSkipVerify: options.insecureSkipTlsVerify,
    ...(options.cacert === '' ? {} : { ca: readFileSync(options.cacert) }),
    ...(options.cert === '' ? {} : { cert: readFileSync(options.cert) }),
    ...(options.key === '' ? {} : { key: readFileSync(options.key) }),
  };
}

function dialEtsd(endpoint: string, tls: TlsOptions): Promise<LoadChannel> {
  const { address, secure } = parseEndpoint(endpoint);
  const dial: DialOptions = secure ? { tls } : {};
  return new Promise((resolve, reject) => {
    const channel: GrpcChannel = new GrpcChannel(world, address, {
      dial,
      // grpc-go measures its bandwidth with a PING for nearly every message; the servers measured here are trusted.
      limits: { controlBurst: Number.MAX_SAFE_INTEGER },
      onState: (state) => {
        if (state === ChannelState.READY) resolve(channel);
        if (state === ChannelState.FAILING) {
          channel.close();
          reject(new Error(`no connection to ${endpoint}`));
        }
      },
    });
    channel.connect();
  });
}

/** How connections are made under these options. */
export function dialerOf(options: LoadOptions): Dial {
  if (options.transport === 'node') return dialNode;
  const tls = tlsOf(options);
  return (endpoint) => dialEtsd(endpoint, tls);
}
