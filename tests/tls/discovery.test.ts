/**
 * Goal: `etsdctl --discovery-srv --insecure-discovery=false` talks to nobody but to servers certified for the domain, as etcdctl does, since records
 * can be forged. Method: a name server of the test's own, and members whose certificates are for the domain or not.
 */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '@etsd/testkit';
import { startNameServer } from '../../packages/runtime/src/node/testing/name-server.ts';
import { run } from '../process/program.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import { hasOpenssl, TestAuthorities } from '../support/certificates.ts';
import { startServer, type TestServer } from '../support/server.ts';

const skip = hasOpenssl() ? false : 'openssl not found';

test('endpoints found through a domain are certified for the domain', { skip, timeout: 120_000 }, async () => {
  const files = new TestAuthorities(mkdtempSync(join(tmpdir(), 'etsd-discovery-')));
  files.authority('ca');
  files.issue('ca', 'domain', { names: 'DNS:example.test' });
  files.issue('ca', 'host', { names: 'DNS:localhost,IP:127.0.0.1' });
  const servers: TestServer[] = [];
  const records = new Map<string, { target: string; port: number; priority: number; weight: number }[]>();
  for (const name of ['domain', 'host']) {
    const port = await freePort();
    const url = `https://127.0.0.1:${port}`;
    const tls = ['--cert-file', files.at(`${name}.pem`), '--key-file', files.at(`${name}.key`)];
    servers.push(
      await startServer({
        product: 'etsd',
        flags: ['--listen-client-urls', url, '--advertise-client-urls', url, ...tls],
      }),
    );
    records.set(`_etcd-client-ssl-${name}._tcp.example.test`, [{ target: 'localhost', port, priority: 0, weight: 0 }]);
  }
  const names = await startNameServer(records);
  // The program asks the test's name server in the place of the system's.
  const preload = `data:text/javascript,import { setServers } from 'node:dns'; setServers(['${names.address}']);`;
  const etsdctl = (service: string, ...words: string[]): ReturnType<typeof run> =>
    run(
      [
        '--discovery-srv',
        'example.test',
        '--discovery-srv-name',
        service,
        '--cacert',
        files.at('ca.pem'),
        ...words,
        'put',
        'a',
        'b',
      ],
      {},
      [
        NODE,
        '--import',
        preload,
        join(ROOT, 'packages/cli/bin/etsdctl.ts'),
        '--dial-timeout=2s',
        '--command-timeout=3s',
      ],
    );
  try {
    const secure = '--insecure-discovery=false';
    const certified = await etsdctl('domain', secure);
    assert.equal(certified.stdout, 'OK\n', certified.stderr);
    assert.notEqual((await etsdctl('host', secure)).code, 0, 'a certificate for the host is not enough');
    assert.equal((await etsdctl('host')).stdout, 'OK\n', 'as long as nothing else is asked for');
    assert.notEqual((await etsdctl('domain')).code, 0);
  } finally {
    names.close();
    for (const server of servers) await server.dispose();
    files.remove();
  }
});
