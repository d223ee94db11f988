/**
 * Goal: a member of ours and real etcd understand each other on the peer port. Method: a cluster of two etcd processes
 * and one of our transports with a raft behind it, first following, then leading. Needs etcd and etcdctl in
 * PEER_ETCD_BIN or on the PATH.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { u64ToHex } from '@etsd/base';
import { clusterIdOf, type IdentifiedMember, identify } from '../membership.ts';
import { LoopbackMember, Station, until } from './testing/loopback.ts';

function findBinary(name: string): string | null {
  const given = process.env['PEER_ETCD_BIN'];
  const places = given !== undefined ? [given] : (process.env['PATH'] ?? '').split(delimiter);
  return places.map((place) => join(place, name)).find((path) => existsSync(path)) ?? null;
}

const etcd = findBinary('etcd');
const etcdctl = findBinary('etcdctl');
const skip = etcd === null || etcdctl === null ? 'no etcd and etcdctl in PEER_ETCD_BIN or on the PATH' : false;

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

class Etcd {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  output = '';
  private child: ChildProcess | null = null;

  constructor(name: string, clientPort: number, peerPort: number) {
    this.name = name;
    this.client = `http://127.0.0.1:${clientPort}`;
    this.peer = `http://127.0.0.1:${peerPort}`;
  }

  start(directory: string, cluster: string): void {
    const { name, client, peer } = this;
    const flags = {
      name,
      'data-dir': join(directory, name),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': cluster,
      'initial-cluster-token': 'mixed',
      'log-level': 'info',
    };
    const words = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    this.child = spawn(etcd!, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output = (this.output + text).slice(-2_000_000);
    });
  }

  control(...words: string[]): Promise<string> {
    return new Promise((resolve) => {
      const args = [`--endpoints=${this.client}`, '--command-timeout=10s', ...words];
      execFile(etcdctl!, args, { env: { ...process.env, ETCDCTL_API: '3' } }, (error, stdout, stderr) => {
        resolve(error === null ? stdout.trim() : `failed: ${stderr}`);
      });
    });
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}

describe('two real etcd and one of ours', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'etsd-peers-'));
  const others: Etcd[] = [];
  let ours: LoopbackMember;
  let members: IdentifiedMember[];

  before(async () => {
    const station = new Station(0);
    await station.listen();
    for (const name of ['a', 'b']) others.push(new Etcd(name, await freePort(), await freePort()));
    const founding = [
      { name: 'ours', peerUrls: [station.url] },
      ...others.map(({ name, peer }) => ({ name, peerUrls: [peer] })),
    ];
    members = identify(founding, 'mixed');
    station.id = members.find(({ name }) => name === 'ours')!.id;
    station.pages.set('/version', '{"etcdserver":"3.5.30","etcdcluster":"3.5.0"}');
    station.pages.set('/members', '[]');
    const cluster = founding.map(({ name, peerUrls }) => `${name}=${peerUrls[0]}`).join(',');
    for (const other of others) other.start(directory, cluster);
    ours = new LoopbackMember(station, clusterIdOf(members.map(({ id }) => id)), members);
  });

  after(async () => {
    await ours.close();
    for (const other of others) await other.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const idOf = (name: string): string => members.find((member) => member.name === name)!.id;

  it('brings up the streams both ways and takes the leader’s appends', async () => {
    await until('streams with both', () =>
      ['a', 'b'].every((name) => ours.station.transport.activeSince(idOf(name)) !== null),
    );
    await until('a leader', () => ours.node.leader !== '0'.repeat(16));
    assert.equal(await others[0]!.control('put', 'from-etcd', 'value one'), 'OK');
    await until('the entry here', () => ours.applier.seen.some((text) => text.includes('value one')));
    for (const name of ['a', 'b']) {
      const hex = u64ToHex(ours.station.id);
      const output = others.find((other) => other.name === name)!.output;
      assert.match(output, new RegExp(`peer became active.*"peer-id":"${hex}"`));
    }
  });

  it('leads them: what they forward comes back as our append, and they apply it', async () => {
    if (!ours.node.isLeader) {
      const leader = others.find(({ name }) => idOf(name) === ours.node.leader)!;
      assert.match(await leader.control('move-leader', u64ToHex(ours.station.id)), /^Leadership transferred/);
    }
    await until('our leadership', () => ours.node.isLeader);
    for (const [place, other] of others.entries()) {
      assert.equal(await other.control('put', `from-ours-${place}`, 'x'.repeat(100_000)), 'OK');
      const got = await others[1 - place]!.control('get', '--print-value-only', `from-ours-${place}`);
      assert.equal(got.length, 100_000);
    }
  });

  it('hands the lead back, and has lost no stream on the way', async () => {
    ours.node.transferLeadership(idOf('a'));
    await until('their leadership', () => ours.node.leader === idOf('a'));
    assert.equal(await others[1]!.control('put', 'again', 'value two'), 'OK');
    await until('the entry here', () => ours.applier.seen.some((text) => text.includes('value two')));
    assert.deepEqual(
      ours.station.logger.lines.filter((line) => line.includes('lost TCP')),
      [],
    );
  });
});
