/**
 * Goal: certificates and authorities are exchanged in a running cluster, and nobody's request fails. Method: three
 * members over mutual TLS among themselves and to their clients, clients that come anew for every few requests and such
 * that stay, etcdctl, and the files of everybody replaced step by step, as one authority follows another.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EtcdClient } from '@etsd/client';
import type { TlsOptions } from '@etsd/runtime';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { run } from '../process/program.ts';
import { hasOpenssl, TestAuthorities } from '../support/certificates.ts';
import { eventually } from '../support/conditions.ts';
import { TestServer } from '../support/server.ts';

const skip = hasOpenssl() ? false : 'openssl not found';
const files = new TestAuthorities(skip === false ? mkdtempSync(join(tmpdir(), 'etsd-rotation-')) : '');
const members: TestServer[] = [];
after(async () => {
  for (const member of members) await member.dispose();
  files.remove();
});

/** Each kind of holder has a bundle, a certificate and a key of its own. */
const HOLDERS = ['members', 'server', 'client'] as const;

function flags(clientUrl: string, peerUrl: string): string[] {
  return [
    ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl, '--listen-peer-urls', peerUrl],
    ...['--cert-file', files.at('server.pem'), '--key-file', files.at('server.key')],
    ...['--client-cert-auth', '--trusted-ca-file', files.at('server-ca.pem')],
    ...['--peer-cert-file', files.at('members.pem'), '--peer-key-file', files.at('members.key')],
    ...['--peer-client-cert-auth', '--peer-trusted-ca-file', files.at('members-ca.pem')],
    ...['--peer-cert-allowed-cn', 'etsd-member'],
  ];
}

function credentials(): TlsOptions {
  const read = (name: string): Buffer => readFileSync(files.at(name));
  return { alpn: ['h2'], ca: read('client-ca.pem'), cert: read('client.pem'), key: read('client.key') };
}

function connect(member: TestServer): EtcdClient {
  return new EtcdClient({ endpoints: `https://127.0.0.1:${member.clientPort}`, tls: credentials(), timeoutMs: 20_000 });
}

test('one authority follows another, and no request fails', { skip, timeout: 300_000 }, async (context) => {
  for (const name of ['old', 'new']) {
    files.authority(name);
    for (const holder of HOLDERS) {
      files.issue(name, `${holder}-${name}`, { commonName: holder === 'members' ? 'etsd-member' : holder });
    }
  }
  files.issue('new', 'stranger');
  const trust = (...names: string[]): void => {
    for (const holder of HOLDERS) files.put(`${holder}-ca.pem`, ...names.map((name) => `${name}.pem`));
  };
  const show = (holder: string, name: string): void => {
    files.put(`${holder}.pem`, `${holder}-${name}.pem`);
    files.put(`${holder}.key`, `${holder}-${name}.key`);
  };
  trust('old');
  for (const holder of HOLDERS) show(holder, 'old');

  for (const name of ['a', 'b', 'c']) {
    const [clientPort, peerPort] = [await freePort(), await freePort()];
    const peerUrl = `https://127.0.0.1:${peerPort}`;
    const membership = {
      name,
      advertisePeerUrl: peerUrl,
      initialCluster: '',
      state: 'new' as const,
      token: 'rotation',
    };
    const options = { product: 'etsd' as const, flags: flags(`https://127.0.0.1:${clientPort}`, peerUrl), membership };
    members.push(new TestServer({ ...options, readyMs: 90_000 }, clientPort, peerPort));
  }
  const all = members.map(({ membership }) => `${membership.name}=${membership.advertisePeerUrl}`).join(',');
  for (const { membership } of members) membership.initialCluster = all;
  await Promise.all(members.map((member) => member.start()));

  const [first, second, third] = members as [TestServer, TestServer, TestServer];
  const failures: string[] = [];
  const done = { fresh: 0, steady: 0 };
  let isOver = false;
  const count = async (kind: 'fresh' | 'steady', client: EtcdClient): Promise<void> => {
    try {
      await client.kv.put(`${kind}/${done[kind]}`, 'x');
      done[kind]++;
    } catch (error) {
      failures.push(`${kind}: ${error}`);
    }
  };
  const steady = async (member: TestServer): Promise<void> => {
    const client = connect(member);
    while (!isOver && failures.length < 10) await count('steady', client);
    await client.close();
  };
  const fresh = async (member: TestServer): Promise<void> => {
    while (!isOver && failures.length < 10) {
      const client = connect(member);
      for (let request = 0; request < 3; request++) await count('fresh', client);
      await client.close();
    }
  };
  const load = [steady(first), steady(second), fresh(first), fresh(second), fresh(second)];
  const etcdctl = async (): Promise<void> => {
    const program = findPeerProgram('etcdctl');
    if (program === null || program === undefined) return;
    const tls = [
      '--cacert',
      files.at('client-ca.pem'),
      '--cert',
      files.at('client.pem'),
      '--key',
      files.at('client.key'),
    ];
    const at = ['--endpoints', members.map(({ clientPort }) => `https://127.0.0.1:${clientPort}`).join(',')];
    const { stdout, stderr } = await run([...at, ...tls, 'put', 'etcdctl', 'x'], { ETCDCTL_API: '3' }, [program]);
    assert.equal(stdout, 'OK\n', stderr);
  };
  const step = async (what: string, change: () => void): Promise<void> => {
    change();
    const aim = { fresh: done.fresh + 10, steady: done.steady + 10 };
    await eventually(60_000, `${what}: requests go on`, async () =>
      failures.length > 0 || (done.fresh >= aim.fresh && done.steady >= aim.steady) ? true : null,
    );
    if (needsPeer('etcdctl') === false) await etcdctl();
    assert.deepEqual(failures, [], what);
  };

  try {
    await step('as it began', () => {});
    await step('both authorities', () => trust('old', 'new'));
    await step('servers', () => show('server', 'new'));
    await step('members', () => show('members', 'new'));
    await step('clients', () => show('client', 'new'));
    await step('the new authority alone', () => trust('new'));
    // A member that comes back knows nothing of the old authority; the others, never restarted, take it and dial it.
    await third.stop();
    await step('a member away', () => {});
    await third.start();
    const client = connect(third);
    const found = await client.kv.get('steady/0');
    assert.notEqual(found, null, 'it has caught up');
    await client.close();
    await step('it is back', () => {});
    // A certificate of the same authority whose name is not that of a member gets nowhere.
    await third.stop();
    files.put('members.pem', 'stranger.pem');
    files.put('members.key', 'stranger.key');
    third.launch();
    const isRefused = (line: string): boolean => line.includes('client certificate authentication failed');
    await eventually(60_000, 'the stranger is refused', async () =>
      first.logs.some(isRefused) || second.logs.some(isRefused) ? true : null,
    );
    await third.kill();
    await step('the stranger is gone', () => {});
  } finally {
    isOver = true;
    await Promise.all(load);
  }
  assert.deepEqual(failures, []);
  context.diagnostic(`${done.fresh} requests over new connections and ${done.steady} over old ones, none failed`);
});
