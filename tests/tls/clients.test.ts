/**
 * Goal: who may not come in does not, from the next handshake on, and who may is never kept out by a file that is
 * being changed. Method: one member whose files change while it runs, etcdctl and node's own TLS at the other end.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get, type RequestOptions } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { run } from '../process/program.ts';
import { hasOpenssl, TestAuthorities } from '../support/certificates.ts';
import { eventually } from '../support/conditions.ts';
import { startServer, type TestServer } from '../support/server.ts';

const skip = hasOpenssl() ? false : 'openssl not found';
const skipCtl = skip || needsPeer('etcdctl');

describe('clients over mutual TLS', { skip }, () => {
  const files = new TestAuthorities(mkdtempSync(join(tmpdir(), 'etsd-tls-clients-')));
  let server: TestServer;
  let port: number;

  before(async () => {
    for (const name of ['ca', 'other']) files.authority(name);
    files.issue('ca', 'server-1');
    files.issue('ca', 'server-2');
    files.issue('other', 'server-3');
    files.issue('ca', 'ended', { days: 0 });
    for (const name of ['ann', 'bob', 'cid']) files.issue('ca', name, { names: `DNS:${name}.test,IP:127.0.0.1` });
    files.issue('other', 'dan', { names: 'DNS:ann.test' });
    files.put('server.pem', 'server-1.pem');
    files.put('server.key', 'server-1.key');
    files.put('authorities.pem', 'ca.pem');
    files.revoke('ca', 'revoked.crl');
    port = await freePort();
    const url = `https://127.0.0.1:${port}`;
    const plain = `http://127.0.0.1:${await freePort()}`;
    server = await startServer({
      product: 'etsd',
      flags: [
        ...['--listen-client-urls', `${url},${plain}`, '--advertise-client-urls', `${url},${plain}`],
        ...['--cert-file', files.at('server.pem'), '--key-file', files.at('server.key')],
        ...['--client-cert-auth', '--trusted-ca-file', files.at('authorities.pem')],
        ...['--client-crl-file', files.at('revoked.crl'), '--client-cert-allowed-hostname', 'ann.test,bob.test'],
        ...['--tls-handshake-timeout', '2s', '--log-level', 'debug'],
      ],
    });
    plainUrl = plain;
  });
  after(async () => {
    await server?.dispose();
    files.remove();
  });
  let plainUrl = '';

  const as = (name: string): RequestOptions & ConnectionOptions => ({
    ca: readFileSync(files.at('ca.pem')),
    cert: readFileSync(files.at(`${name}.pem`)),
    key: readFileSync(files.at(`${name}.key`)),
  });

  /** The status of a request over a new connection, or why there is none. */
  function ask(options: RequestOptions & ConnectionOptions): Promise<string> {
    return new Promise((resolve) => {
      const request = get(`https://127.0.0.1:${port}/version`, { ...options, agent: false }, (response) => {
        response.resume();
        response.on('end', () => resolve(String(response.statusCode)));
      });
      request.on('error', (error) => resolve(error.message));
    });
  }

  async function metric(name: string): Promise<number> {
    const page = await (await fetch(`${plainUrl}/metrics`)).text();
    let sum = 0;
    for (const line of page.split('\n')) if (line.startsWith(name)) sum += Number(line.split(' ').at(-1));
    return sum;
  }

  const logged = (text: string): string[] => server.logs.filter((line) => line.includes(text));

  it('with a certificate of ours and a name that is allowed, and no other', async () => {
    assert.equal(await ask(as('ann')), '200');
    assert.notEqual(await ask({ ca: readFileSync(files.at('ca.pem')) }), '200', 'none');
    assert.notEqual(await ask(as('dan')), '200', 'of another authority');
    assert.notEqual(await ask(as('cid')), '200', 'of another name');
    await eventually(30_000, 'lines about them', () =>
      logged('rejected connection on client').length >= 3 ? true : null,
    );
    const reasons = logged('rejected connection on client endpoint').map((line) => JSON.parse(line).error as string);
    assert.ok(reasons.includes("tls: client didn't provide a certificate"), reasons.join('\n'));
    assert.ok(
      reasons.some((reason) => reason.startsWith('tls: failed to verify certificate')),
      reasons.join('\n'),
    );
    assert.ok(reasons.includes('client certificate authentication failed'), reasons.join('\n'));
    assert.equal(await metric('etsd_tls_handshakes_refused_total{side="client",reason="no-certificate"}'), 1);
    assert.equal(await metric('etsd_tls_handshakes_refused_total{side="client",reason="not-allowed"}'), 1);
  });

  it('etcdctl, over TLS and, at the other address, without', { skip: skipCtl }, async () => {
    const program = [findPeerProgram('etcdctl') as string, '--endpoints', `https://127.0.0.1:${port}`];
    const tls = ['--cacert', files.at('ca.pem'), '--cert', files.at('ann.pem'), '--key', files.at('ann.key')];
    const put = await run([...tls, 'put', 'a', 'b'], { ETCDCTL_API: '3' }, program);
    assert.equal(put.stdout, 'OK\n', put.stderr);
    const plain = [findPeerProgram('etcdctl') as string, '--endpoints', plainUrl];
    assert.equal((await run(['get', 'a'], { ETCDCTL_API: '3' }, plain)).stdout, 'a\nb\n');
  });

  it('a key exchange that quantum computers do not break is what is agreed on, and shown', async () => {
    const name = 'etsd_tls_handshakes_total{side="client",version="TLSv1.3",group="X25519MLKEM768"';
    const before = await metric(name);
    const group = await new Promise((resolve, reject) => {
      const request = get(`https://127.0.0.1:${port}/version`, { ...as('ann'), agent: false }, (response) => {
        resolve((response.socket as TLSSocket).getEphemeralKeyInfo());
        response.resume();
      });
      request.on('error', reject);
    });
    assert.equal((group as { name: string }).name, 'X25519MLKEM768');
    await eventually(30_000, 'the metric', async () => ((await metric(name)) > before ? true : null));
    await eventually(30_000, 'a line about it', () => logged('"group":"X25519MLKEM768"')[0] ?? null);
    // Whoever does not have it is served all the same.
    assert.equal(await ask({ ...as('ann'), ecdhCurve: 'X25519' }), '200');
    assert.ok((await metric('etsd_tls_handshakes_total{side="client",version="TLSv1.3",group="X25519"')) > 0);
    assert.equal(await ask({ ...as('ann'), maxVersion: 'TLSv1.2' }), '200');
    assert.ok((await metric('etsd_tls_handshakes_total{side="client",version="TLSv1.2"')) > 0);
  });

  // GHSA-3wh4-j44w-pg92: etcd let it in.
  it('a revoked certificate is refused at the next handshake, by an old session too', async () => {
    let session: Buffer | undefined;
    const held = await new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({ ...as('bob'), port, host: '127.0.0.1' } as ConnectionOptions);
      socket.on('session', (bytes) => {
        session = bytes;
        resolve(socket);
      });
      socket.on('error', reject);
    });
    assert.equal(await ask({ ...as('bob'), session: session as Buffer }), '200');
    files.revoke('ca', 'revoked.crl', ['bob']);
    assert.notEqual(await ask(as('bob')), '200');
    assert.notEqual(await ask({ ...as('bob'), session: session as Buffer }), '200', 'by an old session');
    assert.equal(await ask(as('ann')), '200', 'others are not');
    await eventually(30_000, 'a line about it', () => logged('transport: certificate serial ')[0] ?? null);
    held.destroy();
  });

  it('files that cannot be used change nothing but the log', async () => {
    const changes: [file: string, put: () => void, back: () => void, why: RegExp][] = [
      [
        'certificate without its key',
        () => files.put('server.pem', 'server-2.pem'),
        () => files.put('server.pem', 'server-1.pem'),
        /--cert-file .* and --key-file .* cannot be used together: tls: private key does not match public key/,
      ],
      [
        'half a certificate',
        () => writeFileSync(files.at('server.pem'), readFileSync(files.at('server-1.pem')).subarray(0, 200)),
        () => files.put('server.pem', 'server-1.pem'),
        /--cert-file .*server\.pem is no certificate/,
      ],
      [
        'authorities that are none',
        () => writeFileSync(files.at('authorities.pem'), 'nobody'),
        () => files.put('authorities.pem', 'ca.pem'),
        /--trusted-ca-file .*authorities\.pem holds no certificate in PEM form/,
      ],
      [
        'a list that is none',
        () => writeFileSync(files.at('revoked.crl'), 'nothing'),
        () => files.revoke('ca', 'revoked.crl'),
        /--client-crl-file .*revoked\.crl is no list of revoked certificates/,
      ],
      [
        'no key at all',
        () => rmSync(files.at('server.key')),
        () => files.put('server.key', 'server-1.key'),
        /server\.key/,
      ],
    ];
    for (const [what, change, back, why] of changes) {
      const before = logged('changed TLS files cannot be used').length;
      change();
      assert.equal(await ask(as('ann')), '200', what);
      assert.equal(await ask(as('ann')), '200', what);
      const lines = logged('changed TLS files cannot be used').slice(before);
      assert.equal(lines.length, 1, `${what}: one line\n${lines.join('\n')}`);
      assert.match(lines[0] as string, why);
      back();
      assert.equal(await ask(as('ann')), '200', what);
    }
    const ended = logged('changed TLS files cannot be used').length;
    files.put('server.pem', 'ended.pem');
    files.put('server.key', 'ended.key');
    assert.equal(await ask(as('ann')), '200');
    assert.match(logged('changed TLS files cannot be used').slice(ended).join('\n'), /server\.pem has expired on/);
    files.put('server.pem', 'server-1.pem');
    files.put('server.key', 'server-1.key');
    assert.ok((await metric('etsd_tls_reloads_total{side="client",outcome="refused"}')) >= changes.length);
  });

  it('another certificate, then another authority, without anybody noticing', async () => {
    files.put('server.key', 'server-2.key');
    files.put('server.pem', 'server-2.pem');
    assert.equal(await ask(as('ann')), '200');
    files.put('authorities.pem', 'ca.pem', 'other.pem');
    assert.equal(await ask(as('dan')), '200', 'both authorities');
    files.put('server.pem', 'server-3.pem');
    files.put('server.key', 'server-3.key');
    assert.notEqual(await ask(as('dan')), '200', 'the server is no longer of the old authority');
    const other = { ca: readFileSync(files.at('other.pem')) };
    assert.equal(await ask({ ...as('dan'), ...other }), '200');
    files.put('authorities.pem', 'other.pem');
    assert.notEqual(await ask({ ...as('ann'), ...other }), '200', 'the old authority counts no more');
    assert.equal(await ask({ ...as('dan'), ...other }), '200');
    const days = await metric('etsd_tls_days_to_expiry{side="client",kind="certificate"');
    assert.ok(days > 1 && days <= 2, String(days));
    assert.ok((await metric('etsd_tls_reloads_total{side="client",outcome="taken"}')) >= 4);
  });

  it('a handshake that is not finished in its time is ended', async () => {
    const before = await metric('etsd_tls_handshakes_refused_total{side="client",reason="timeout"}');
    assert.equal(before, 0);
    const hello = Buffer.from('160301ffff', 'hex');
    const slow = [Buffer.alloc(0), hello.subarray(0, 3), Buffer.from('16030100ff010000fb0303', 'hex')].map((bytes) => {
      const socket = connectTcp(port, '127.0.0.1');
      if (bytes.length > 0) socket.write(bytes);
      socket.on('error', () => {});
      return new Promise((resolve) => socket.on('close', resolve));
    });
    await Promise.all(slow);
    assert.equal(await metric('etsd_tls_handshakes_refused_total{side="client",reason="timeout"}'), before + 3);
    assert.equal(await metric('etsd_tls_handshakes_pending'), 0);
  });
});
