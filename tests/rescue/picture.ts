/** Everything a member tells its clients, in a form that can be compared: every key at every revision, and the rest. */
import { Prng } from '@etsd/base';
import type { Client, Message } from '../support/client.ts';

/** As CI is: other programs share the machine and its disk. */
const PATIENT_MS = 120_000;
const ALL = { key: Buffer.from([0]), range_end: Buffer.from([0]) };

function ask(client: Client, method: string, request: Message): Promise<Message> {
  return client.expect(method, request, PATIENT_MS);
}

/** Writes of all kinds, drawn from the seed. */
export async function writeAnything(client: Client, seed: number, rounds: number): Promise<void> {
  const prng = new Prng(seed);
  const leases: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const key = Buffer.from(`key-${prng.below(40)}`);
    const dice = prng.below(100);
    if (dice < 60) {
      const value = Buffer.alloc(prng.chance(0.05) ? 9000 : prng.below(400), round);
      const lease = leases.length > 0 && prng.chance(0.2) ? prng.pick(leases) : '0';
      await ask(client, 'KV/Put', { key, value, lease });
    } else if (dice < 72) {
      await ask(client, 'KV/DeleteRange', prng.chance(0.1) ? { key, range_end: Buffer.from('key-9') } : { key });
    } else if (dice < 86) {
      const puts = [1, 2, 3].map((n) => ({
        request_put: { key: Buffer.from(`txn-${n}`), value: Buffer.from(`${round}`) },
      }));
      await ask(client, 'KV/Txn', { success: puts });
    } else if (dice < 92) {
      const id = String(1_000_000 + seed * 10_000 + round);
      await ask(client, 'Lease/LeaseGrant', { ID: id, TTL: '90000' });
      leases.push(id);
    } else if (dice < 94 && leases.length > 2) {
      await ask(client, 'Lease/LeaseRevoke', { ID: leases.shift() as string });
    } else {
      await writeUsers(client, `${seed}-${round}`);
    }
    if (round === rounds >> 1) {
      const { header } = (await ask(client, 'KV/Range', ALL)) as { header: { revision: string } };
      await ask(client, 'KV/Compact', { revision: String(Number(header.revision) - 10), physical: true });
    }
  }
}

async function writeUsers(client: Client, name: string): Promise<void> {
  await ask(client, 'Auth/RoleAdd', { name: `role-${name}` });
  await ask(client, 'Auth/RoleGrantPermission', {
    name: `role-${name}`,
    perm: { permType: 'READWRITE', key: Buffer.from('a'), range_end: Buffer.from('b') },
  });
  await ask(client, 'Auth/UserAdd', { name: `user-${name}`, password: 'secret' });
  await ask(client, 'Auth/UserGrantRole', { user: `user-${name}`, role: `role-${name}` });
}

export interface Picture {
  readonly revision: number;
  readonly compactRevision: number;
  /** As text, to be compared. */
  readonly text: string;
  /** Of the header: cluster and member. */
  readonly ids: string;
}

/** The picture up to a revision, 0 for the newest; of what has no revisions, as it is now. */
export async function pictureOf(client: Client, upTo = 0): Promise<Picture> {
  const now = await ask(client, 'KV/Range', ALL);
  const header = now['header'] as { revision: string; cluster_id: string; member_id: string };
  const revision = upTo === 0 ? Number(header.revision) : upTo;
  const hash = await ask(client, 'Maintenance/HashKV', { revision: String(revision) });
  const compactRevision = Math.max(1, Number(hash['compact_revision']));
  const parts: unknown[] = [{ hash: hash['hash'], compactRevision }];
  for (let at = compactRevision; at <= revision; at++) {
    const { kvs, count } = await ask(client, 'KV/Range', { ...ALL, revision: String(at) });
    parts.push({ at, count, kvs });
  }
  parts.push(await leasesOf(client), await usersOf(client), await membersOf(client));
  const text = JSON.stringify(parts, (_, value: unknown) =>
    Buffer.isBuffer(value) ? value.toString('base64') : value,
  );
  return { revision, compactRevision, text, ids: `${header.cluster_id} ${header.member_id}` };
}

async function leasesOf(client: Client): Promise<unknown> {
  const { leases } = (await ask(client, 'Lease/LeaseLeases', {})) as { leases: { ID: string }[] };
  const found: Message[] = [];
  for (const { ID } of [...leases].sort((a, b) => Number(a.ID) - Number(b.ID))) {
    const { grantedTTL, keys } = await ask(client, 'Lease/LeaseTimeToLive', { ID, keys: true });
    found.push({ ID, grantedTTL, keys: (keys as Buffer[]).map(String).sort() });
  }
  return found;
}

async function usersOf(client: Client): Promise<unknown> {
  const { users } = (await ask(client, 'Auth/UserList', {})) as { users: string[] };
  const { roles } = (await ask(client, 'Auth/RoleList', {})) as { roles: string[] };
  const found: unknown[] = [];
  for (const name of users) found.push(name, (await ask(client, 'Auth/UserGet', { name }))['roles']);
  for (const role of roles) found.push(role, (await ask(client, 'Auth/RoleGet', { role }))['perm']);
  const { enabled, authRevision } = await ask(client, 'Auth/AuthStatus', {});
  return [...found, enabled, authRevision];
}

async function membersOf(client: Client): Promise<unknown> {
  return (await ask(client, 'Cluster/MemberList', {}))['members'];
}

const ROOT = { name: 'root', password: 'of all' };
const READER = { name: 'reader', password: 'of some' };

/** Two users, one of whom may read one key. */
export async function addUsers(client: Client): Promise<void> {
  for (const { name, password } of [ROOT, READER]) {
    await ask(client, 'Auth/UserAdd', { name, password });
    await ask(client, 'Auth/RoleAdd', { name });
    await ask(client, 'Auth/UserGrantRole', { user: name, role: name });
  }
  const perm = { permType: 'READ', key: Buffer.from('txn-1') };
  await ask(client, 'Auth/RoleGrantPermission', { name: READER.name, perm });
}

/** From now on only users may do anything. */
export async function lockDoors(client: Client): Promise<void> {
  await ask(client, 'Auth/AuthEnable', {});
}

/** What each of them may do and what is refused, as the member says it; then the doors are open again. */
export async function tryDoors(client: Client): Promise<string[]> {
  const said: string[] = [];
  const note = async (what: string, method: string, request: Message, token = ''): Promise<Message | null> => {
    const headers = token === '' ? {} : { token };
    const { code, message, response } = await client.call(method, request, PATIENT_MS, headers);
    said.push(`${what}: ${code} ${message} ${(response?.['kvs'] as unknown[] | undefined)?.length ?? ''}`);
    return response;
  };
  const key = Buffer.from('txn-1');
  await note('nobody reads', 'KV/Range', { key });
  await note('a wrong password', 'Auth/Authenticate', { name: ROOT.name, password: READER.password });
  const tokenOf = async ({ name, password }: typeof ROOT): Promise<string> =>
    String((await note(`${name} comes in`, 'Auth/Authenticate', { name, password }))?.['token']);
  const reader = await tokenOf(READER);
  await note('the reader reads', 'KV/Range', { key }, reader);
  await note('the reader reads another key', 'KV/Range', { key: Buffer.from('txn-2') }, reader);
  await note('the reader writes', 'KV/Put', { key, value: key }, reader);
  const root = await tokenOf(ROOT);
  await note('root reads', 'KV/Range', { key: Buffer.from('txn-2') }, root);
  await note('a user from before', 'Auth/UserList', {}, root);
  await note('the doors are opened', 'Auth/AuthDisable', {}, root);
  return said;
}
