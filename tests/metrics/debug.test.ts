/**
 * Goal: an operator sees what a member does without stopping it, and nobody else does. Method: a member is asked for its
 * variables and profiles, without and with the flag, and while authentication is on; what should be a profile is decoded by a
 * library that knows nothing of ours.
 */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { freePort } from '@etsd/testkit';
import protobuf from 'protobufjs';
import { Client } from '../support/client.ts';
import { startServer } from '../support/server.ts';

const PATIENCE_MS = 90_000;

/** What of the message is looked at here. */
const Profile = protobuf
  .parse(
    `syntax = "proto3";
     message ValueType { int64 type = 1; int64 unit = 2; }
     message Sample { repeated uint64 location_id = 1; repeated int64 value = 2; }
     message Line { uint64 function_id = 1; int64 line = 2; }
     message Location { uint64 id = 1; repeated Line line = 4; }
     message Function { uint64 id = 1; int64 name = 2; int64 system_name = 3; int64 filename = 4; int64 start_line = 5; }
     message Profile {
       repeated ValueType sample_type = 1; repeated Sample sample = 2; repeated Location location = 4;
       repeated Function function = 5; repeated string string_table = 6; int64 time_nanos = 9; int64 duration_nanos = 10;
       ValueType period_type = 11; int64 period = 12;
     }`,
    { keepCase: true },
  )
  .root.lookupType('Profile');

interface Decoded {
  sample_type: { type: number }[];
  sample: { location_id: number[]; value: number[] }[];
  location: { id: number; line: { function_id: number }[] }[];
  function: { id: number; name: number }[];
  string_table: string[];
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
}

function ask(port: number, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const type = response.headers['content-type'] ?? '';
        resolve({ status: response.statusCode ?? 0, type, body: Buffer.concat(parts) });
      });
    }).on('error', reject);
  });
}

/** Names of functions in samples, and what the values are called; checks that everything refers to something. */
function read({ status, body }: Answer): { names: Set<string>; types: string[]; samples: number } {
  assert.equal(status, 200, body.toString());
  const message = Profile.toObject(Profile.decode(gunzipSync(body)), { longs: Number, arrays: true, defaults: true });
  const profile = message as Decoded;
  const text = (place: number): string => {
    assert.ok(place < profile.string_table.length);
    return profile.string_table[place] as string;
  };
  assert.equal(text(0), '');
  const functions = new Map(profile.function.map(({ id, name }) => [id, text(name)]));
  const places = new Map(profile.location.map(({ id, line }) => [id, functions.get(line[0]?.function_id ?? -1)]));
  const names = new Set<string>();
  for (const { location_id, value } of profile.sample) {
    assert.equal(value.length, profile.sample_type.length);
    for (const id of location_id) {
      const name = places.get(id);
      assert.ok(name !== undefined, `place ${id} is known`);
      names.add(name);
    }
  }
  return { names, types: profile.sample_type.map(({ type }) => text(type)), samples: profile.sample.length };
}

describe('/debug/', () => {
  it('shows variables always, and profiles where the flag allows it', async () => {
    await using server = await disposable(['--discovery-password', 'secret']);
    const vars = await ask(server.clientPort, '/debug/vars');
    const shown = JSON.parse(vars.body.toString()) as {
      cmdline: string[];
      'raft.status': { raftState: string; progress: object };
    };
    assert.equal(vars.type, 'application/json; charset=utf-8');
    assert.ok(shown.cmdline.includes('--data-dir'));
    assert.ok(!vars.body.includes('secret'), 'no password is shown');
    assert.equal(shown['raft.status'].raftState, 'StateLeader');
    assert.equal(Object.keys(shown['raft.status'].progress).length, 1);
    for (const path of ['/debug/pprof/', '/debug/pprof/heap', '/debug/nothing']) {
      assert.equal((await ask(server.clientPort, path)).status, 404, path);
    }
  });

  it('makes profiles that other tools read, one at a time, for root alone', { timeout: 300_000 }, async () => {
    const figuresPort = await freePort();
    await using server = await disposable([
      '--enable-pprof',
      '--listen-metrics-urls',
      `http://127.0.0.1:${figuresPort}`,
    ]);
    const { clientPort } = server;
    const client = new Client(server.address);
    try {
      const profile = ask(clientPort, '/debug/pprof/profile?seconds=2');
      let isMade = false;
      profile.then(
        () => (isMade = true),
        () => (isMade = true),
      );
      const inBetween = await ask(clientPort, '/debug/pprof/heap');
      if (!isMade) assert.equal(inBetween.status, 500, 'a second profile waits for its turn');
      for (let turn = 0; !isMade; turn++) {
        await client.expect('KV/Put', { key: Buffer.from('a'), value: Buffer.alloc(1000, turn) }, PATIENCE_MS);
      }
      const cpu = read(await profile);
      assert.deepEqual(cpu.types, ['samples', 'cpu']);
      assert.ok(cpu.samples > 0);
      assert.ok(!cpu.names.has('(idle)'));
      assert.deepEqual(read(await ask(clientPort, '/debug/pprof/heap')).types, ['inuse_space']);
      const own = await ask(clientPort, '/debug/pprof/profile?seconds=0.1&format=v8');
      assert.ok((JSON.parse(own.body.toString()) as { nodes: unknown[] }).nodes.length > 0);
      assert.equal((await ask(figuresPort, '/debug/pprof/heap')).status, 404, 'not on addresses for figures');

      await client.expect('Auth/UserAdd', { name: 'root', password: 'r' }, PATIENCE_MS);
      await client.expect('Auth/UserAdd', { name: 'ann', password: 'a' }, PATIENCE_MS);
      await client.expect('Auth/UserGrantRole', { user: 'root', role: 'root' }, PATIENCE_MS);
      await client.expect('Auth/AuthEnable', {}, PATIENCE_MS);
      const tokenOf = async (name: string, password: string): Promise<string> => {
        const { token } = await client.expect('Auth/Authenticate', { name, password }, PATIENCE_MS);
        return token as string;
      };
      for (const path of ['/debug/vars', '/debug/pprof/', '/debug/pprof/heap']) {
        const asked = async (authorization?: string): Promise<number> =>
          (await ask(clientPort, path, authorization === undefined ? {} : { authorization })).status;
        assert.equal(await asked(), 403, `${path} for nobody`);
        assert.equal(await asked('nonsense'), 403, `${path} for a stranger`);
        assert.equal(await asked(await tokenOf('ann', 'a')), 403, `${path} for a user`);
        assert.equal(await asked(await tokenOf('root', 'r')), 200, `${path} for root`);
      }
    } finally {
      client.close();
    }
  });
});

async function disposable(flags: string[]) {
  const server = await startServer({ product: 'etsd', flags });
  return Object.assign(server, { [Symbol.asyncDispose]: () => server.dispose() });
}
