import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask } from '../gateway/http.ts';
import { eventually } from '../support/conditions.ts';
import { startServer } from '../support/server.ts';
import { v2 } from './keys-client.ts';

interface Line {
  readonly rpc: string;
  readonly code: string;
  readonly user?: string;
  readonly request?: { readonly key?: string; readonly method?: string };
}

const basic = (user: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${user}:${user}-pw`).toString('base64')}`,
});

// Goal: who asks for keys of etcd 2 is written down and held back as who asks for keys of etcd 3. Method: requests of all
// kinds, good, bad and denied, against a member with an audit log of everything and a rate; the lines name who and what, and
// never a value.
test('requests on the keys of etcd 2 are in the audit log and within the rates', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'etsd-v2-guards-'));
  const file = join(folder, 'audit.log');
  const flags = ['--enable-v2', `--audit-log=${file}`, '--audit-level=read', '--request-rate=user=1,burst=8'];
  const server = await startServer({ product: 'etsd', flags });
  const client = server.connect();
  try {
    const port = server.clientPort;
    await v2(port, 'PUT', '/a/b', { value: 'canary', prevValue: 'canary' });
    await v2(port, 'PUT', '/a/b', { value: 'canary' });
    await v2(port, 'GET', '/a', { recursive: true });
    await v2(port, 'GET', '/none');
    await v2(port, 'GET', '/a/b', { wait: true, waitIndex: 1 });
    for (const name of ['root', 'ann']) await client.expect('Auth/UserAdd', { name, password: `${name}-pw` });
    await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' });
    await client.expect('Auth/AuthEnable', {});
    assert.equal((await v2(port, 'DELETE', '/a/b', {}, basic('ann'))).status, 401);
    assert.equal((await v2(port, 'GET', '/a/b', {}, basic('root'))).status, 200);
    const lines = await eventually(20_000, 'all lines', () => {
      const all = readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.includes('"rpc":"V2/'))
        .map((line) => JSON.parse(line) as Line);
      return all.length >= 7 ? all : null;
    });
    assert.deepEqual(
      lines.map(({ rpc, code, user, request }) => [rpc, code, user ?? '', request?.method ?? '', request?.key]),
      [
        ['V2/Change', 'NotFound', '', 'PUT', '/a/b'],
        ['V2/Change', 'OK', '', 'PUT', '/a/b'],
        ['V2/List', 'OK', '', '', '/a'],
        ['V2/Get', 'NotFound', '', '', '/none'],
        ['V2/Wait', 'OK', '', '', '/a/b'],
        ['V2/Change', 'PermissionDenied', 'ann', 'DELETE', '/a/b'],
        ['V2/Get', 'OK', 'root', '', '/a/b'],
      ],
    );
    assert.ok(!readFileSync(file, 'utf8').includes('canary'), 'a value is in the audit log');
    const statuses = new Set<number>();
    for (let left = 12; left > 0; left--) {
      const { status, body } = await ask(port, { method: 'GET', path: '/v2/keys/a/b', headers: basic('root') });
      if (status === 429) assert.match(body, /"errorCode":300,.*too many requests of this user/);
      statuses.add(status);
    }
    assert.deepEqual([...statuses].sort(), [200, 429]);
  } finally {
    client.close();
    await server.dispose();
    rmSync(folder, { recursive: true });
  }
});
