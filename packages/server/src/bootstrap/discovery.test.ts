/** etcd's discovery service, version 3, as a member goes through it; the service itself is a table here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RpcError, StatusCode } from '@etsd/rpc';
import { discover, type Registration, type Registry } from './discovery.ts';
import { Neighbourhood } from './neighbours.fixture.ts';

const ID = '00000000000000ab';

class TableRegistry implements Registry {
  text: string | null = '3';
  readonly table: Registration[] = [];
  failures: Error[] = [];
  private revision = 0;

  size(): Promise<string | null> {
    const failure = this.failures.pop();
    return failure === undefined ? Promise.resolve(this.text) : Promise.reject(failure);
  }

  members(): Promise<Registration[]> {
    // By key, as a store lists them.
    return Promise.resolve([...this.table].sort((left, right) => (left.id < right.id ? -1 : 1)));
  }

  register(id: string, value: string): Promise<void> {
    const known = this.table.findIndex((each) => each.id === id);
    if (known >= 0) this.table[known] = { ...(this.table[known] as Registration), value };
    else this.table.push({ id, value, createRevision: ++this.revision });
    return Promise.resolve();
  }

  close(): void {}
}

function start(registry: TableRegistry) {
  const around = new Neighbourhood();
  const { world, logger } = around.parts({});
  const work = discover({ registry, logger, timers: world.timers }, ID, 'a=http://a:1');
  return { around, work };
}

test('members register and wait until all are there', async () => {
  const registry = new TableRegistry();
  const { around, work } = start(registry);
  around.universe.simulation.schedule(5000, { isAlive: true }, () => void registry.register('1', 'b=http://b:1'));
  around.universe.simulation.schedule(9000, { isAlive: true }, () => {
    void registry.register('2', 'c=http://c:1,c=http://c:2');
  });
  const plan = await around.outcome(work);
  assert.deepEqual(Object.fromEntries(plan), {
    a: ['http://a:1'],
    b: ['http://b:1'],
    c: ['http://c:1', 'http://c:2'],
  });
  assert.deepEqual(registry.table[0], { id: 'ab', value: 'a=http://a:1', createRevision: 1 });
  assert.ok(around.nowMs >= 9000 && around.nowMs < 11_000);
});

test('the first to register make the cluster, whatever their ids; who comes too late is told', async () => {
  const registry = new TableRegistry();
  registry.text = '2';
  await registry.register('ff', 'b=http://b:1');
  await registry.register('ab', 'a=http://a:1');
  await registry.register('01', 'c=http://c:1');
  const { around, work } = start(registry);
  assert.deepEqual([...(await around.outcome(work)).keys()], ['b', 'a']);
  const late = new TableRegistry();
  late.text = '1';
  await late.register('ff', 'b=http://b:1');
  const second = start(late);
  await assert.rejects(second.around.outcome(second.work), {
    message: 'failed to join discovery cluster (discovery: cluster is full)',
  });
  assert.equal(late.table.length, 1, 'it does not register');
});

const REFUSED: [name: string, edit: (registry: TableRegistry) => void, reason: string][] = [
  ['no size', (registry) => (registry.text = null), 'discovery: size key not found'],
  ['a size that is no number', (registry) => (registry.text = 'three'), 'discovery: size key is bad'],
  ['a size of nobody', (registry) => (registry.text = '0'), 'discovery: size key is bad'],
  [
    'a value that is no member',
    (registry) => registry.table.push({ id: '1', value: 'b=nonsense', createRevision: 9 }),
    'discovery: invalid peer URL',
  ],
  [
    'two members of one name',
    (registry) => registry.table.push({ id: '1', value: 'a=http://b:1', createRevision: 9 }),
    'discovery: two members are named "a"',
  ],
];
for (const [name, edit, reason] of REFUSED) {
  test(`refused: ${name}`, async () => {
    const registry = new TableRegistry();
    registry.text = '2';
    edit(registry);
    const { around, work } = start(registry);
    await assert.rejects(around.outcome(work), { message: `failed to join discovery cluster (${reason})` });
  });
}

test('a service that does not answer is tried until it does; one that says no is not', async () => {
  const registry = new TableRegistry();
  registry.text = '1';
  registry.failures = [1, 2, 3].map(() => new RpcError(StatusCode.UNAVAILABLE, 'down'));
  const { around, work } = start(registry);
  await around.outcome(work);
  assert.equal(around.lines.filter(({ message }) => message.endsWith('failed; trying again')).length, 3);
  assert.ok(around.nowMs >= 7000, 'with growing pauses');
  const closed = new TableRegistry();
  closed.failures = [new RpcError(StatusCode.PERMISSION_DENIED, 'etcdserver: permission denied')];
  const other = start(closed);
  await assert.rejects(other.around.outcome(other.work), { message: 'etcdserver: permission denied' });
});
