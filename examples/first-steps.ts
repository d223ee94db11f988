/**
 * Put, get and watch against a running member, with nothing but this repository:
 * `node_modules/.bin/node examples/first-steps.ts [host:port]`.
 */
import {
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from '@etsd/proto';
import { GrpcChannel } from '@etsd/rpc';
import { nodeWorld } from '@etsd/runtime/node';

const [host = '127.0.0.1', port = '2379'] = (process.argv[2] ?? '127.0.0.1:2379').split(':');
const channel = new GrpcChannel(nodeWorld(), { host, port: Number(port) });
const key = Buffer.from('/config/app1/log_level');

// A watch on the key tells of every change from now on.
const seen = new Promise<string>((resolve, reject) => {
  const watch = channel.start('/etcdserverpb.Watch/Watch', {
    message(_call, bytes, start, end) {
      const response = WatchResponse.decode(bytes, start, end);
      if (response.created) put('debug').catch(reject);
      const kv = response.events[0]?.kv;
      if (kv === undefined || kv === null) return;
      resolve(`${kv.key.toString()} is now ${kv.value.toString()}, at revision ${kv.modRevision}`);
      watch.cancel();
    },
    closed(_call, code, message) {
      reject(new Error(`the watch ended: ${message} (code ${code})`));
    },
  });
  watch.send(WatchRequest.encode(WatchRequest.create({ createRequest: WatchCreateRequest.create({ key }) })));
});

async function put(value: string): Promise<void> {
  const request = PutRequest.create({ key, value: Buffer.from(value) });
  const response = PutResponse.decode(await channel.unary('/etcdserverpb.KV/Put', PutRequest.encode(request)));
  console.log(`put: revision ${response.header?.revision}`);
}

console.log(`watch: ${await seen}`);
const range = RangeRequest.encode(RangeRequest.create({ key }));
const { kvs } = RangeResponse.decode(await channel.unary('/etcdserverpb.KV/Range', range));
console.log(`get: ${kvs[0]?.value.toString()}`);
channel.close();
