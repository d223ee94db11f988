/** Goal: what a member tells a collector is true and hangs together, whoever led and whoever was asked. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EtcdClient } from '@etsd/client';
import { PutRequest, RequestOp, TxnRequest } from '@etsd/proto';
import { ETSD_VERSION, startCluster, startMember } from '@etsd/server';
import { needsPeer } from '@etsd/testkit';
import { Client } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { startServer } from '../support/server.ts';
import { Collector, type ReceivedSpan } from './collector.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const collector = new Collector();

before(() => collector.open());
after(() => collector.close());

function flags(rate: number, port = collector.port): Record<string, string | number | boolean> {
  return {
    'experimental-enable-distributed-tracing': true,
    'experimental-distributed-tracing-address': `127.0.0.1:${port}`,
    'experimental-distributed-tracing-service-name': 'store',
    'experimental-distributed-tracing-instance-id': 'one',
    'experimental-distributed-tracing-sampling-rate': rate,
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    assert.ok(turns < 3000, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function named(spans: readonly ReceivedSpan[], name: string): ReceivedSpan[] {
  return spans.filter((span) => span.name === name);
}

function only(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const found = named(spans, name);
  assert.equal(found.length, 1, name);
  return found[0] as ReceivedSpan;
}

/** Headers with which a caller says that it traces its call, or that it does not. */
function calling(flag: '00' | '01'): { intercept: unknown } {
  return {
    intercept: (call: { headers: Map<string, string> }, next: () => Promise<unknown>) => {
      call.headers.set('traceparent', `00-${TRACE}-${PARENT}-${flag}`);
      return next();
    },
  };
}

test('a put in a cluster of three: the parts of all members hang on the request of the client', async () => {
  collector.spans.length = 0;
  await using cluster = await startCluster({ flags: flags(0) });
  const follower = cluster.members.find((member) => !member.isLeader);
  assert.ok(follower !== undefined);
  const { intercept } = calling('01');
  await using client = new EtcdClient({ endpoints: [follower.endpoint], interceptors: [intercept as never] });
  await client.kv.put('/app/users/7', 'secret value', { timeoutMs: 30_000 });
  const mine = (): ReceivedSpan[] => collector.spans.filter(({ traceId }) => traceId === TRACE);
  await until('the parts of all three', () => named(mine(), 'apply').length === 3);
  const spans = mine();
  const request = only(spans, 'etcdserverpb.KV/Put');
  assert.deepEqual([request.parentId, request.kind, request.status], [PARENT, 2, 0]);
  assert.deepEqual(request.service, { 'service.name': 'store', 'service.instance.id': 'one' });
  assert.equal(request.scope, `etsd ${ETSD_VERSION}`);
  assert.deepEqual(request.attributes, {
    'rpc.system.name': 'grpc',
    'rpc.method': 'etcdserverpb.KV/Put',
    'rpc.response.status_code': 'OK',
    'client.address': '127.0.0.1',
  });
  const rafts = named(spans, 'raft');
  const asText = (list: readonly ReceivedSpan[]): string[] =>
    list.map((span) => span.attributes['etsd.member'] as string);
  for (const name of ['raft', 'fsync', 'apply']) {
    assert.equal(new Set(asText(named(spans, name))).size, 3, `${name} at each member`);
  }
  for (const span of [...rafts, ...named(spans, 'apply')]) assert.equal(span.parentId, request.spanId, span.name);
  assert.deepEqual(rafts.map(({ attributes }) => attributes['raft.role']).sort(), ['follower', 'follower', 'leader']);
  for (const sync of named(spans, 'fsync')) {
    const raft = rafts.find(({ spanId }) => spanId === sync.parentId);
    assert.equal(raft?.attributes['etsd.member'], sync.attributes['etsd.member']);
  }
  for (const span of spans) assert.ok(span.startMs > Date.UTC(2020, 0) && span.endMs >= span.startMs, span.name);
  const own = rafts.find(
    ({ attributes }) => attributes['etsd.member'] === only(spans, 'answer').attributes['etsd.member'],
  );
  assert.ok(own !== undefined && own.startMs >= request.startMs - 1 && own.endMs <= request.endMs + 1);
  assert.ok(!JSON.stringify(spans).includes('secret'), 'no value');
  assert.ok(!JSON.stringify(spans).includes('users'), 'no key');
});

test('ranges, transactions and watches have spans too, and what fails says so', async () => {
  collector.spans.length = 0;
  const member = await startMember({ listen: '127.0.0.1:0', flags: flags(1_000_000) });
  try {
    const client = member.client();
    await client.kv.put('a', '1');
    await client.kv.get('a');
    const request = TxnRequest.create({
      success: [
        RequestOp.create({ requestPut: PutRequest.create({ key: Buffer.from('b'), value: Buffer.from('2') }) }),
      ],
    });
    await client.kv.txnRaw(request);
    await client.kv.range({ key: Buffer.from('a'), revision: 99 }).catch(() => {});
    const watcher = client.watch('a')[Symbol.asyncIterator]();
    const event = watcher.next();
    await until('a watch', () => named(collector.spans, 'etcdserverpb.Watch/Watch').length > 0);
    await client.kv.put('a', '2');
    await event;
    await until('all', () => named(collector.spans, 'etcdserverpb.KV/Put').length === 2);
    const headers = { traceparent: `00-${TRACE}-${PARENT}-01` };
    await fetch(`${member.endpoint}/api/keys/a`, { headers });
    await fetch(`${member.endpoint}/v3/kv/put`, { method: 'POST', headers, body: '{"key":"YQ==","value":"YQ=="}' });
    const overHttp = (): ReceivedSpan[] => collector.spans.filter(({ parentId }) => parentId === PARENT);
    await until('those over HTTP', () => overHttp().length === 2);
    assert.deepEqual(
      overHttp()
        .map(({ name }) => name)
        .sort(),
      ['etcdserverpb.KV/Put', 'etcdserverpb.KV/Range'],
    );
    const gets = named(collector.spans, 'etcdserverpb.KV/Range').filter(({ parentId }) => parentId !== PARENT);
    assert.deepEqual(
      gets.map(({ attributes }) => attributes['rpc.response.status_code']),
      ['OK', 'OUT_OF_RANGE'],
    );
    const [got] = gets as [ReceivedSpan];
    const parts = collector.spans.filter(({ parentId }) => parentId === got.spanId).map(({ name }) => name);
    assert.deepEqual(parts.sort(), ['answer', 'read barrier']);
    const txn = only(collector.spans, 'etcdserverpb.KV/Txn');
    const below = collector.spans.filter(({ parentId }) => parentId === txn.spanId).map(({ name }) => name);
    assert.deepEqual(below.sort(), ['answer', 'apply', 'raft']);
    // Each request is a trace of its own, since nobody asked for another.
    const roots = collector.spans.filter(({ parentId }) => parentId === '');
    assert.equal(new Set(collector.spans.map(({ traceId }) => traceId)).size, roots.length + 1);
  } finally {
    await member.close();
  }
});

test('one request in so many is traced; a caller that says no is obeyed', async () => {
  collector.spans.length = 0;
  const member = await startMember({ listen: '127.0.0.1:0', flags: flags(100_000) });
  try {
    const { intercept } = calling('00');
    const silent = member.client({ interceptors: [intercept as never] });
    for (let at = 0; at < 40; at++) await silent.kv.put('silent', '1');
    const client = member.client();
    for (let at = 0; at < 40; at++) await client.kv.put('a', '1');
    await until('some', () => named(collector.spans, 'etcdserverpb.KV/Put').length >= 4);
    assert.equal(named(collector.spans, 'etcdserverpb.KV/Put').length, 4);
  } finally {
    await member.close();
  }
});

// Goal: whoever looks after the collector cannot harm the store by it.
test('a collector that fails, and one that is not there, cost spans and nothing else', async () => {
  const said: string[] = [];
  const logger = {
    enabled: () => true,
    log: (_level: string, message: string) => void said.push(message),
  };
  collector.isBroken = true;
  for (const port of [collector.port, 1]) {
    said.length = 0;
    const member = await startMember({ listen: '127.0.0.1:0', flags: flags(1_000_000, port), logger });
    try {
      const client = member.client();
      for (let at = 0; at < 20; at++) await client.kv.put('a', '1');
      await until('a word of it', () => said.includes('failed to send spans to the collector'));
      await client.kv.put('a', '2');
      const page = await (await fetch(`${member.endpoint}/metrics`)).text();
      assert.match(page, /^etsd_trace_spans_sent_total 0$/m);
      assert.match(page, /^etsd_trace_spans_dropped_total [1-9]\d*$/m);
    } finally {
      await member.close();
    }
  }
  collector.isBroken = false;
});

const skip = needsPeer('etcd');

/** What a collector sees of one member's requests, without what differs from run to run. */
async function seenOf(product: 'etcd' | 'etsd'): Promise<unknown[]> {
  const own = new Collector();
  await own.open();
  const server = await startServer({
    product,
    // etcd's exporter would wait for five seconds.
    env: { OTEL_BSP_SCHEDULE_DELAY: '200' },
    flags: Object.entries(flags(1_000_000, own.port)).map(([name, value]) => `--${name}=${value}`),
  });
  const client = new Client(server.address);
  try {
    await client.expect('KV/Put', { key: Buffer.from('a'), value: Buffer.from('v') });
    await client.expect('KV/Range', { key: Buffer.from('a') });
    await client.call('KV/Range', { key: Buffer.from('a'), revision: 99 });
    await client.call('KV/Put', { key: Buffer.alloc(0) });
    const requests = (): ReceivedSpan[] => own.spans.filter(({ kind }) => kind === 2);
    await until('all requests', () => requests().length >= 4);
    // As they began: etcd ends a span behind its answer, when the next request may be over already.
    const inOrder = requests().sort((one, other) => one.startMs - other.startMs);
    return inOrder.map(({ service, name, parentId, attributes, status }) => {
      const known = ['rpc.system.name', 'rpc.method', 'rpc.response.status_code'];
      return { service, name, parentId, status, attributes: known.map((each) => attributes[each]) };
    });
  } finally {
    client.close();
    await server.dispose();
    await own.close();
  }
}

// Goal: dashboards made for etcd's traces find the same in ours.
test('requests look as those of etcd do', { skip }, async () => {
  const [ours, theirs] = await Promise.all([seenOf('etsd'), seenOf('etcd')]);
  assert.deepEqual(ours, theirs);
});

// Goal: the mark in the log harms no member of etcd that applies the entry.
test('in a cluster with members of etcd a traced put is applied by all', { skip }, async () => {
  collector.spans.length = 0;
  const products = ['etsd', 'etcd', 'etcd'] as ('etsd' | 'etcd')[];
  const cluster = await TestCluster.start({
    products,
    flags: Object.entries(flags(1_000_000)).map(([name, value]) => `--${name}=${value}`),
  });
  try {
    const [ours] = cluster.members;
    assert.ok(ours !== undefined);
    await cluster.client(ours).expect('KV/Put', { key: Buffer.from('k'), value: Buffer.from('v') }, 30_000);
    await until('our part', () => named(collector.spans, 'apply').length > 0);
    const hashes = new Set<unknown>();
    for (const member of cluster.members) {
      await cluster.client(member).expect('KV/Range', { key: Buffer.from('k') }, 30_000);
      hashes.add((await cluster.client(member).expect('Maintenance/HashKV', { revision: 2 }, 30_000))['hash']);
    }
    assert.equal(hashes.size, 1);
  } finally {
    await cluster.dispose();
  }
});
