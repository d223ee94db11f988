/**
 * Goal: a member of ours and real etcd understand each other on the peer port. Method: a cluster of two etcd processes
 * and one of our transports with a raft behind it, first following, then leading. Needs etcd and etcdctl in
 * PEER_ETCD_BIN or on the PATH.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type U64, U64_ZERO, u64ToHex } from '@etsd/base';
import { findPeerProgram, freePort, needsPeer } from '@etsd/testkit';
import { clusterIdOf, type IdentifiedMember, identify } from '../membership.ts';
import type { HttpTransportOptions } from './http-transport.ts';
import { type Certificate, Certificates } from './testing/certificates.ts';
import { LoopbackMember, Station, until } from './testing/loopback.ts';

const etcd = findPeerProgram('etcd');
const etcdctl = findPeerProgram('etcdctl');
const skip = needsPeer('etcd', 'etcdctl');

class Etcd {
  readonly name: string;
  readonly client: string;
  readonly peer: string;
  output = '';
  private child: ChildProcess | null = null;

  constructor(name: string, clientPort: number, peerPort: number, scheme: string) {
    this.name = name;
    this.client = `http://127.0.0.1:${clientPort}`;
    this.peer = `${scheme}://127.0.0.1:${peerPort}`;
  }

  start(directory: string, cluster: string, more: Readonly<Record<string, string>>): void {
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
      ...more,
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

/** Two etcd processes and one member of ours, which is begun by `join`. */
class Mixed {
  readonly others: Etcd[] = [];
  ours: LoopbackMember | null = null;
  private readonly directory = mkdtempSync(join(tmpdir(), 'etsd-peers-'));
  private readonly station: Station;
  private readonly certificate: Certificate | null;
  private members: IdentifiedMember[] = [];

  constructor(certificate: Certificate | null = null) {
    this.certificate = certificate;
    this.station = new Station(
      0,
      certificate === null ? null : { ...certificate, requestCert: true, rejectUnauthorized: true },
    );
  }

  async start(flags: Readonly<Record<string, string>> = {}): Promise<void> {
    const { station, others, certificate } = this;
    await station.listen();
    const scheme = certificate === null ? 'http' : 'https';
    for (const name of ['a', 'b']) others.push(new Etcd(name, await freePort(), await freePort(), scheme));
    const founding = [
      { name: 'ours', peerUrls: [station.url] },
      ...others.map(({ name, peer }) => ({ name, peerUrls: [peer] })),
    ];
    this.members = identify(founding, 'mixed');
    station.id = this.idOf('ours');
    station.pages.set('/version', '{"etcdserver":"3.5.30","etcdcluster":"3.5.0"}');
    station.pages.set('/members', '[]');
    const cluster = founding.map(({ name, peerUrls }) => `${name}=${peerUrls[0]}`).join(',');
    const secure =
      certificate === null
        ? {}
        : {
            'peer-cert-file': certificate.certFile,
            'peer-key-file': certificate.keyFile,
            'peer-trusted-ca-file': certificate.caFile,
            'peer-client-cert-auth': 'true',
          };
    for (const other of others) other.start(this.directory, cluster, { ...secure, ...flags });
  }

  join(options: Partial<HttpTransportOptions> = {}): LoopbackMember {
    const { members, station, certificate } = this;
    const tls = certificate;
    this.ours = new LoopbackMember(station, clusterIdOf(members.map(({ id }) => id)), members, { tls, ...options });
    return this.ours;
  }

  idOf(name: string): U64 {
    return this.members.find((member) => member.name === name)!.id;
  }

  get hasStreams(): boolean {
    const { transport } = this.station;
    return this.others.every(({ name }) => transport.counters.get(this.idOf(name))?.streams === 4);
  }

  async stop(): Promise<void> {
    if (this.ours !== null) await this.ours.close();
    else await this.station.close();
    for (const other of this.others) await other.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

describe('two real etcd and one of ours', { skip }, () => {
  const mixed = new Mixed();
  let ours: LoopbackMember;
  before(async () => {
    await mixed.start();
    ours = mixed.join();
  });
  after(() => mixed.stop());

  it('brings up the streams both ways and takes the leader’s appends', async () => {
    const { others } = mixed;
    await until('streams with both', () => mixed.hasStreams);
    await until('a leader', () => ours.node.leader !== U64_ZERO);
    assert.equal(await others[0]!.control('put', 'from-etcd', 'value one'), 'OK');
    await until('the entry here', () => ours.applier.seen.some((text) => text.includes('value one')));
    const hex = u64ToHex(ours.station.id);
    for (const { output } of others) {
      assert.match(output, new RegExp(`peer became active.*"peer-id":"${hex}"`));
    }
  });

  it('leads them: what they forward comes back as our append, and they apply it', async () => {
    const { others } = mixed;
    if (!ours.node.isLeader) {
      const leader = others.find(({ name }) => mixed.idOf(name) === ours.node.leader)!;
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
    ours.node.moveLeader(mixed.idOf('a'), { done: () => {}, fail: (error) => assert.fail(error.message) });
    await until('their leadership', () => ours.node.leader === mixed.idOf('a'));
    assert.equal(await mixed.others[1]!.control('put', 'again', 'value two'), 'OK');
    await until('the entry here', () => ours.applier.seen.some((text) => text.includes('value two')));
    assert.deepEqual(
      ours.station.logger.lines.filter((line) => line.includes('lost TCP')),
      [],
    );
  });
});

/** What the first of bbolt's meta pages has at its beginning, behind the page's head. */
const BOLT_MAGIC = 0xed0cdaed;

it('a member of ours that comes late gets etcd’s snapshot, and goes on from there', { skip }, async () => {
  const mixed = new Mixed();
  try {
    // What 3.5 takes for a number of entries behind a snapshot that it still sends one by one.
    await mixed.start({ 'snapshot-count': '20', 'experimental-snapshot-catchup-entries': '5' });
    const [first] = mixed.others;
    for (let count = 0; count < 60; count++) {
      assert.equal(await first!.control('put', `key-${count}`, 'v'.repeat(2000)), 'OK');
    }
    const files: Buffer[] = [];
    const ours = mixed.join({
      sink: {
        receive: async (message, body) => {
          assert.ok((message.snapshot?.metadata?.index ?? 0) > 20);
          const pieces: Buffer[] = [];
          for await (const piece of body) pieces.push(piece);
          files.push(Buffer.concat(pieces));
        },
      },
    });
    await until('the snapshot', () => ours.installed.length > 0);
    assert.equal(files[0]!.readUInt32LE(16), BOLT_MAGIC);
    assert.equal(files[0]!.length % 4096, 0);
    assert.ok(files[0]!.length > 50_000);
    assert.equal(await first!.control('put', 'behind-it', 'value three'), 'OK');
    await until('the entry here', () => ours.applier.seen.some((text) => text.includes('value three')));
  } finally {
    await mixed.stop();
  }
});

const skipSecure = skip === false && !Certificates.isPossible() ? 'openssl not found' : skip;

it('the same over https, each asking the other for its certificate', { skip: skipSecure }, async () => {
  const certificates = new Certificates();
  certificates.authority('ca');
  const mixed = new Mixed(certificates.issue('ca', 'peer', 'IP:127.0.0.1,DNS:localhost'));
  try {
    await mixed.start();
    const ours = mixed.join();
    await until('streams with both', () => mixed.hasStreams);
    await until('a leader', () => ours.node.leader !== U64_ZERO);
    assert.equal(await mixed.others[1]!.control('put', 'secure', 'value four'), 'OK');
    await until('the entry here', () => ours.applier.seen.some((text) => text.includes('value four')));
  } finally {
    await mixed.stop();
    certificates.remove();
  }
});
