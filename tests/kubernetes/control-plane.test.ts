/**
 * Goal: a control plane lives on etsd. Method: Kubernetes' own API server (KUBE_APISERVER names the program) over mutual TLS on a
 * cluster of three, one of which is killed on the way; objects made, changed, listed in pages, watched and deleted through it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePort } from '@etsd/testkit';
import { documents } from '../deploy/go-template.ts';
import { run } from '../process/program.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import { hasOpenssl, TestAuthorities } from '../support/certificates.ts';
import { eventually } from '../support/conditions.ts';
import { type Product, prepareServer, type TestServer } from '../support/server.ts';
import { API_SERVER, ApiServer } from './real-api-server.ts';

const skip = API_SERVER === '' ? 'KUBE_APISERVER names no API server' : !hasOpenssl() && 'no openssl';
const PATIENCE_MS = 120_000;
const MAPS = '/api/v1/namespaces/default/configmaps';

interface Meta {
  readonly name: string;
  readonly resourceVersion: string;
}
interface List {
  readonly metadata: {
    readonly continue?: string;
    readonly remainingItemCount?: number;
    readonly resourceVersion: string;
  };
  readonly items: readonly { readonly metadata: Meta }[];
}

const map = (name: string, data: Record<string, string> = {}): unknown => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data,
});

describe('a control plane', { skip, timeout: 900_000 }, () => {
  const product: Product = process.env['ETSD_TEST_PRODUCT'] === 'etcd' ? 'etcd' : 'etsd';
  const files = new TestAuthorities(mkdtempSync(join(tmpdir(), 'etsd-control-plane-')));
  const members: TestServer[] = [];
  const urls: string[] = [];
  let api: ApiServer;

  before(async () => {
    files.authority('ca');
    files.issue('ca', 'server');
    files.issue('ca', 'api-server');
    const peers: number[] = [];
    for (let index = 0; index < 3; index++) {
      peers.push(await freePort());
      urls.push(`https://127.0.0.1:${await freePort()}`);
    }
    const initialCluster = peers.map((port, index) => `m${index}=https://127.0.0.1:${port}`).join(',');
    const tls = ['cert-file', 'server.pem', 'key-file', 'server.key', 'trusted-ca-file', 'ca.pem'];
    for (const [index, url] of urls.entries()) {
      const peer = `https://127.0.0.1:${peers[index]}`;
      const flags = ['', 'peer-'].flatMap((side) => [
        ...tls.map((word, at) => (at % 2 === 0 ? `--${side}${word}` : files.at(word))),
        `--${side}client-cert-auth`,
      ]);
      const server = await prepareServer({
        product,
        membership: { name: `m${index}`, advertisePeerUrl: peer, initialCluster, state: 'new', token: 'control-plane' },
        flags: [
          ...flags,
          ...['--listen-client-urls', url, '--advertise-client-urls', url, '--listen-peer-urls', peer],
          ...['--experimental-watch-progress-notify-interval', '5s'],
        ],
        readyMs: PATIENCE_MS,
      });
      members.push(server);
    }
    await Promise.all(members.map((member) => member.start()));
    api = await ApiServer.start(urls, files);
    // Which it makes a moment after it is ready.
    await eventually(
      PATIENCE_MS,
      'the namespace',
      async () => ((await api.ask('GET', '/api/v1/namespaces/default')).status === 200 ? true : null),
      100,
    );
  });
  after(async () => {
    if (process.env['ETSD_TEST_SHOW'] !== undefined) console.error(api.log);
    await api?.stop();
    for (const member of members) await member.dispose();
    files.remove();
  });

  /** Asks the store itself. */
  const etsdctl = async (...words: string[]): Promise<string> => {
    const tls = ['--cacert', files.at('ca.pem'), '--cert', files.at('api-server.pem')];
    const all = ['--endpoints', urls.join(), ...tls, '--key', files.at('api-server.key'), ...words];
    const { code, stdout, stderr } = await run(all, {}, [NODE, join(ROOT, 'packages/cli/bin/etsdctl.ts')]);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  const list = async (query: string): Promise<List> => {
    const { status, body } = await api.ask('GET', `${MAPS}?${query}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body as unknown as List;
  };

  it('objects are made once, changed by those who read them last, and deleted', async () => {
    const made = await api.ask('POST', MAPS, map('a', { color: 'red' }));
    assert.equal(made.status, 201, JSON.stringify(made.body));
    assert.equal((await api.ask('POST', MAPS, map('a'))).status, 409);
    const object = made.body as unknown as { metadata: Meta };
    const changed = await api.ask('PUT', `${MAPS}/a`, { ...object, data: { color: 'blue' } });
    assert.equal(changed.status, 200);
    assert.equal((await api.ask('PUT', `${MAPS}/a`, { ...object, data: { color: 'green' } })).status, 409);
    assert.deepEqual((await api.ask('GET', `${MAPS}/a`)).body['data'], { color: 'blue' });
    assert.equal((await api.ask('DELETE', `${MAPS}/a`)).status, 200);
    assert.equal((await api.ask('GET', `${MAPS}/a`)).status, 404);
  });

  it('many writers on one object lose nothing', async () => {
    await api.ask('POST', MAPS, map('counter', { n: '0' }));
    const raise = async (): Promise<void> => {
      for (let done = 0; done < 10; ) {
        const { body } = await api.ask('GET', `${MAPS}/counter`);
        const data = { n: String(Number((body['data'] as { n: string }).n) + 1) };
        const { status } = await api.ask('PUT', `${MAPS}/counter`, { ...body, data });
        if (status === 200) done++;
        else assert.equal(status, 409);
      }
    };
    await Promise.all(Array.from({ length: 5 }, raise));
    assert.deepEqual((await api.ask('GET', `${MAPS}/counter`)).body['data'], { n: '50' });
  });

  it('pages say what remains; a watch from a list sees every change, with bookmarks', async () => {
    for (let index = 0; index < 25; index++) {
      const { status } = await api.ask('POST', MAPS, map(`page-${String(index).padStart(2, '0')}`));
      assert.equal(status, 201);
    }
    const first = await list('limit=10');
    const total = 10 + (first.metadata.remainingItemCount ?? 0);
    await api.ask('DELETE', `${MAPS}/page-20`);
    const names = first.items.map(({ metadata }) => metadata.name);
    for (let page = first; page.metadata.continue !== undefined; ) {
      page = await list(`limit=10&continue=${encodeURIComponent(page.metadata.continue)}`);
      names.push(...page.items.map(({ metadata }) => metadata.name));
      assert.equal(total - names.length, page.metadata.remainingItemCount ?? 0);
    }
    assert.equal(names.length, total);
    assert.ok(names.includes('page-20'), 'the list is one of its first moment');
    const { resourceVersion } = (await list('')).metadata;
    const path = `${MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=${resourceVersion}`;
    const watch = api.watch(path);
    try {
      for (let index = 0; index < 20; index++) {
        const isNew = index % 2 === 0;
        const call = isNew
          ? api.ask('POST', MAPS, map(`seen-${index}`))
          : api.ask('DELETE', `${MAPS}/seen-${index - 1}`);
        assert.equal((await call).status, isNew ? 201 : 200);
      }
      const types = (): unknown[] => watch.events.map(({ type }) => type).filter((type) => type !== 'BOOKMARK');
      await eventually(PATIENCE_MS, 'twenty events', () => (types().length >= 20 ? true : null), 50);
      assert.deepEqual(
        types(),
        Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? 'ADDED' : 'DELETED')),
      );
    } finally {
      watch.close();
    }
  });

  it('events are stored on a lease that ends for all of them', async () => {
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'first', namespace: 'default' },
      involvedObject: { kind: 'ConfigMap', name: 'counter', namespace: 'default' },
      reason: 'Tested',
      type: 'Normal',
    };
    const made = await api.ask('POST', '/api/v1/namespaces/default/events', event);
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const { body } = await api.ask('GET', '/api/v1/namespaces/default/events/first');
    assert.equal((body as { reason?: string }).reason, 'Tested');
    const [, ...leases] = (await etsdctl('lease', 'list')).trim().split('\n');
    const shown = await Promise.all(leases.map((lease) => etsdctl('lease', 'timetolive', lease, '--keys')));
    assert.ok(
      shown.some((lease) => lease.includes('/registry/events/default/first')),
      shown.join(),
    );
  });

  it('takes what is to be applied under deploy/', async () => {
    const paths: Readonly<Record<string, string>> = {
      Service: '/api/v1/namespaces/default/services',
      StatefulSet: '/apis/apps/v1/namespaces/default/statefulsets',
      Pod: '/api/v1/namespaces/kube-system/pods',
    };
    const pod = readFileSync(join(ROOT, 'deploy/kubernetes/control-plane/etsd-static-pod.yaml'), 'utf8');
    const texts = [
      readFileSync(join(ROOT, 'deploy/kubernetes/etsd.yaml'), 'utf8'),
      pod.replaceAll('NODE_ADDRESS', '10.0.0.1'),
    ];
    let taken = 0;
    for (const manifest of texts.flatMap(documents)) {
      // An API server of 1.20 has no PodDisruptionBudget in policy/v1.
      const path = paths[String(manifest['kind'])];
      if (path === undefined) continue;
      const { status, body } = await api.ask('POST', `${path}?dryRun=All`, manifest);
      assert.equal(status, 201, JSON.stringify(body));
      taken++;
    }
    assert.equal(taken, 4);
  });

  it('goes on when a member is lost, and another API server sees the same', async () => {
    const victim = members[0] as TestServer;
    process.kill(victim.pid, 'SIGKILL');
    await victim.ended(PATIENCE_MS);
    await eventually(
      PATIENCE_MS,
      'a write without that member',
      async () => {
        const { status } = await api.ask('POST', MAPS, map('survivor')).catch(() => ({ status: 0 }));
        return status === 201 || status === 409 ? true : null;
      },
      100,
    );
    await victim.start();
    const second = await ApiServer.start(urls, files);
    try {
      const mine = await list('');
      const { body } = await second.ask('GET', MAPS);
      const names = (items: List['items']): string[] => items.map(({ metadata }) => metadata.name);
      assert.deepEqual(names((body as unknown as List).items), names(mine.items));
    } finally {
      await second.stop();
    }
  });
});
