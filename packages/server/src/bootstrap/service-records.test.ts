import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceRecord } from '@etsd/runtime';
import { Neighbourhood } from './neighbours.fixture.ts';
import { planFromRecords } from './service-records.ts';

const FLAGS = {
  name: 'a',
  'discovery-srv': 'example.org',
  'initial-advertise-peer-urls': 'http://one.example.org:2380',
};
const at = (target: string, port = 2380): ServiceRecord => ({ target, port, priority: 0, weight: 0 });

async function plan(records: Record<string, ServiceRecord[]>, flags: Record<string, string> = {}) {
  const around = new Neighbourhood();
  const { names } = around.universe;
  names.hosts.set('one.example.org', ['10.0.0.1']);
  names.hosts.set('uno.example.org', ['10.0.0.1']);
  names.hosts.set('lost.example.org', []);
  for (const [service, list] of Object.entries(records)) names.records.set(`${service}.example.org`, list);
  const { members, token } = await around.outcome(planFromRecords(around.parts({ ...FLAGS, ...flags })));
  return { members: Object.fromEntries(members), token };
}

test('the record of this member has its name, the others are numbered; both services count', async () => {
  assert.deepEqual(
    await plan({
      '_etcd-server._tcp': [at('two.example.org'), at('one.example.org'), at('three.example.org', 2390)],
      '_etcd-server-ssl._tcp': [at('four.example.org')],
    }),
    {
      members: {
        // Numbers begin anew in each service, so that one stands for two members here: as with etcd.
        '0': ['https://four.example.org:2380', 'http://two.example.org:2380'],
        a: ['http://one.example.org:2380'],
        '1': ['http://three.example.org:2390'],
      },
      token: 'etcd-cluster',
    },
  );
});

test('this member is recognised by its address, whatever the record calls it', async () => {
  const { members } = await plan({ '_etcd-server._tcp': [at('uno.example.org'), at('two.example.org')] });
  assert.deepEqual(members, { a: ['http://uno.example.org:2380'], '0': ['http://two.example.org:2380'] });
});

test('the service may have a suffix, the cluster a token', async () => {
  const flags = { 'discovery-srv-name': 'blue', 'initial-cluster-token': 'tok' };
  const found = await plan({ '_etcd-server-blue._tcp': [at('one.example.org')] }, flags);
  assert.deepEqual(found, { members: { a: ['http://one.example.org:2380'] }, token: 'tok' });
});

const REFUSED: [name: string, records: Record<string, ServiceRecord[]>, message: RegExp][] = [
  [
    'no records',
    {},
    /^error setting up initial cluster: error querying DNS SRV records for _etcd-server-ssl no records of .*; error/,
  ],
  [
    'this member is not among them',
    { '_etcd-server._tcp': [at('two.example.org')] },
    /^error setting up initial cluster: cannot find local etcd member "a" in SRV records$/,
  ],
  [
    'this member is there by another scheme',
    { '_etcd-server-ssl._tcp': [at('one.example.org')] },
    /bootstrap at https:\/\/one.example.org:2380 from DNS for etcd-server-ssl has scheme mismatch with expected peer http:/,
  ],
  ['hosts that nobody knows', { '_etcd-server._tcp': [at('lost.example.org')] }, /no such host: lost.example.org/],
];
for (const [name, records, message] of REFUSED) {
  test(`refused: ${name}`, () => assert.rejects(plan(records), { name: 'OperatorError', message }));
}
