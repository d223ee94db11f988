/** Goal: with curl alone a person works with the HTTP API. Method: curl, as docs/http.md has it, and what it prints. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { findProgram } from '@etsd/testkit';
import { startServer, type TestServer } from '../support/server.ts';

const skip = findProgram('curl') === null && 'no curl in PATH';

let server: TestServer;
before(async () => {
  server = await startServer({ product: 'etsd' });
});
after(() => server.dispose());

/** What the command prints, where $U is the API; curl's own progress stays away. */
async function shell(command: string): Promise<string> {
  const env = { ...process.env, U: `http://${server.address}/api`, NO_PROXY: '*' };
  const { stdout } = await promisify(execFile)('sh', ['-c', command.replaceAll('curl ', 'curl -sS ')], {
    env,
    timeout: 60_000,
  });
  return stdout.trimEnd();
}

test('keys, conditions, lists, transactions, leases, changes', { skip }, async () => {
  const rows: [command: string, printed: RegExp][] = [
    ['curl -X PUT $U/keys/config/color -d blue', /^\{"revision":2,"created":true\}$/],
    ['curl $U/keys/config/color', /^blue$/],
    ['curl -i $U/keys/config/color', /^etag: "2"/im],
    ['curl "$U/keys?prefix=config/"', /^\{"revision":2,"count":1,"kvs":\[\{"key":"config\/color","value":"blue",/],
    [`curl -o /dev/null -w '%{http_code}' -X PUT $U/keys/config/color -H 'If-Match: "1"' -d red`, /^412$/],
    [`curl -X PUT $U/keys/config/color -H 'If-Match: "2"' -d green`, /^\{"revision":3,"created":false\}$/],
    [
      `curl -X POST $U/txn -d '{"if":[{"key":"config/color","value":"green"}],"then":[{"put":"config/color","value":"red"}]}'`,
      /^\{"revision":4,"succeeded":true,/,
    ],
    [`curl "$U/watch?prefix=config/&after=3"`, /^\{"revision":4,"events":\[\{"type":"put","key":"config\/color",/],
    [
      `curl -N -m 5 -H 'Accept: text/event-stream' "$U/watch?prefix=config/&after=2" | head -n 12`,
      /event: put[\s\S]*"value":"green"[\s\S]*event: put[\s\S]*"value":"red"/,
    ],
    [`curl -X POST $U/leases -d '{"ttl":60}'`, /^\{[\s\S]*"id":"\d+","ttl":60/],
    ['printf "\\000\\377" | curl -X PUT $U/keys/raw --data-binary @-', /^\{"revision":5,"created":true\}$/],
    ['curl $U/keys/raw | od -An -tx1', /^ 00 ff$/],
    ['curl $U/keys/nothing', /^\{"status":404,"code":"key_not_found",/],
    ['curl -X DELETE $U/keys/config/color', /^\{"revision":6,/],
  ];
  for (const [command, printed] of rows) assert.match(await shell(command), printed, command);
});

test('names and passwords', { skip }, async () => {
  const admin = (path: string, body: object): Promise<string> =>
    shell(`curl http://${server.address}/v3/auth/${path} -d '${JSON.stringify(body)}'`);
  await admin('user/add', { name: 'root', password: 'r' });
  await admin('role/add', { name: 'root' });
  await admin('user/grant', { user: 'root', role: 'root' });
  await admin('enable', {});
  assert.match(await shell('curl -X PUT $U/keys/mine -d 1'), /^\{"status":401,/);
  assert.match(await shell('curl -u root:r -X PUT $U/keys/mine -d 1'), /"created":true/);
  assert.match(await shell('curl -u root:wrong $U/keys/mine'), /^\{"status":401,/);
  const token = `$(curl $U/login -d '{"name":"root","password":"r"}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')`;
  assert.equal(await shell(`curl -H "Authorization: Bearer ${token}" $U/keys/mine`), '1');
});
