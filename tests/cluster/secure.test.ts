/** Members whose peer URLs are https: they begin together, one joins, one with a stranger's certificate gets nowhere. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { hasOpenssl, makeCertificates } from '../support/certificates.ts';
import { Client, type Message } from '../support/client.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, startServer, TestServer } from '../support/server.ts';

const skip = needsPeer('etcd', 'etcdctl') || (!hasOpenssl() && 'openssl not found');
const folder = mkdtempSync(join(tmpdir(), 'etsd-secure-'));
const servers: TestServer[] = [];
after(async () => {
  for (const server of servers) await server.dispose();
  rmSync(folder, { recursive: true });
});
if (skip === false) makeCertificates(folder);
const at = (name: string): string => join(folder, name);

async function secureMember(product: Product, name: string, certificate = 'server', port = 0): Promise<TestServer> {
  const peerPort = port === 0 ? await freePort() : port;
  const url = `https://127.0.0.1:${peerPort}`;
  const flags = [
    ...['--listen-peer-urls', url, '--peer-client-cert-auth', '--peer-trusted-ca-file', at('ca.pem')],
    ...['--peer-cert-file', at(`${certificate}.pem`), '--peer-key-file', at(`${certificate}.key`)],
  ];
  const membership = { name, advertisePeerUrl: url, initialCluster: '', state: 'new' as const, token: 'secure' };
  const server = new TestServer({ product, flags, membership }, await freePort(), peerPort);
  servers.push(server);
  return server;
}

function plan(members: readonly TestServer[]): string {
  return members.map(({ membership }) => `${membership.name}=${membership.advertisePeerUrl}`).join(',');
}

test('members over https begin together, with etcd among them, and one joins', { skip }, async () => {
  const founders = await Promise.all([secureMember('etsd', 'a'), secureMember('etsd', 'b'), secureMember('etcd', 'c')]);
  for (const { membership } of founders) membership.initialCluster = plan(founders);
  await Promise.all(founders.map((each) => each.start()));
  const client = new Client((founders[0] as TestServer).address);
  try {
    const stranger = await secureMember('etsd', 'd', 'stranger');
    const peerURLs = [stranger.membership.advertisePeerUrl];
    await eventually(20_000, 'a member can be added', async () => {
      const { code } = await client.call('Cluster/MemberAdd', { peerURLs, isLearner: true });
      return code === 0 ? true : null;
    });
    stranger.membership.initialCluster = plan([...founders, stranger]);
    stranger.membership.state = 'existing';
    stranger.launch();
    await stranger.ended(30_000);
    assert.match(stranger.log, /cannot fetch cluster info from peer urls/);
    const added = await secureMember('etsd', 'd', 'client', stranger.peerPort);
    added.membership.initialCluster = stranger.membership.initialCluster;
    added.membership.state = 'existing';
    await added.start();
    const list = (await client.expect('Cluster/MemberList', { linearizable: true }))['members'] as Message[];
    assert.deepEqual(list.map((each) => each['name'] as string).sort(), ['a', 'b', 'c', 'd']);
  } finally {
    client.close();
  }
});

test('a discovery service that demands TLS and a password', { skip }, async () => {
  const url = `https://127.0.0.1:${await freePort()}`;
  const tls = ['--cert-file', at('server.pem'), '--key-file', at('server.key')];
  const urls = ['--listen-client-urls', url, '--advertise-client-urls', url];
  const keeper = await startServer({ product: 'etcd', flags: [...urls, ...tls] });
  servers.push(keeper);
  const etcdctl = (...words: string[]): void => {
    const all = ['--endpoints', url, '--cacert', at('ca.pem'), ...words];
    execFileSync(findPeerProgram('etcdctl') as string, all, { env: { ETCDCTL_API: '3' }, stdio: 'ignore' });
  };
  etcdctl('put', '/_etcd/registry/secret/_config/size', '1');
  etcdctl('user', 'add', 'root:pw');
  etcdctl('user', 'grant-role', 'root', 'root');
  etcdctl('user', 'add', 'finder:a:b');
  etcdctl('role', 'add', 'finder');
  etcdctl('role', 'grant-permission', 'finder', '--prefix=true', 'readwrite', '/_etcd/registry/secret/');
  etcdctl('user', 'grant-role', 'finder', 'finder');
  etcdctl('auth', 'enable');
  const flags = ['--discovery-endpoints', url, '--discovery-token', 'secret', '--discovery-cacert', at('ca.pem')];
  const member = async (user: string[]): Promise<TestServer> => {
    const peerPort = await freePort();
    const advertisePeerUrl = `http://127.0.0.1:${peerPort}`;
    const membership = { name: 'm', advertisePeerUrl, initialCluster: '', state: 'new' as const, token: 'unused' };
    const options = { product: 'etsd' as const, flags: [...flags, ...user], membership };
    const server = new TestServer(options, await freePort(), peerPort);
    servers.push(server);
    return server;
  };
  for (const [user, reason] of [
    [[], /failed to join discovery cluster \(discovery: etcdserver: user name is empty\)/],
    [['--discovery-user', 'finder:no'], /discovery: etcdserver: authentication failed, invalid user ID or password/],
  ] as [string[], RegExp][]) {
    const refused = await member(user);
    refused.launch();
    await refused.ended(30_000);
    assert.match(refused.log, reason);
  }
  await (await member(['--discovery-user', 'finder:a:b'])).start();
});
