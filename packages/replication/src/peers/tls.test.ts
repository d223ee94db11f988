/** Goal: peers over https talk when each side's certificate is what the other asks for, and only then. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Message, MessageType } from '@etsd/proto';
import type { TlsDial } from './http-client.ts';
import { type Certificate, Certificates } from './testing/certificates.ts';
import { NotingHost, Station, until } from './testing/loopback.ts';

const skip = Certificates.isPossible() ? false : 'openssl not found';

/** What the dialling side says of a stream it listens on. */
const ESTABLISHED = 'established TCP streaming connection';

describe('peers over https', { skip }, () => {
  let certificates: Certificates;
  let member: Certificate;
  let named: Certificate;
  let stranger: Certificate;
  let stations: Station[] = [];

  before(() => {
    certificates = new Certificates();
    certificates.authority('ca');
    certificates.authority('other');
    member = certificates.issue('ca', 'member', 'IP:127.0.0.1,DNS:localhost');
    named = certificates.issue('ca', 'named', 'DNS:etsd.test');
    stranger = certificates.issue('other', 'stranger', 'IP:127.0.0.1');
  });
  after(() => certificates.remove());
  afterEach(async () => {
    for (const station of stations) await station.close();
    stations = [];
  });

  /** Two members, of which the first dials with `dial` a second that shows `shown` and asks for a certificate of ours. */
  async function pair(dial: TlsDial, shown: Certificate): Promise<[Station, Station, NotingHost]> {
    const asking = { ca: member.ca, requestCert: true, rejectUnauthorized: true };
    const from = new Station(1, { ...member, ...asking });
    const to = new Station(2, { cert: shown.cert, key: shown.key, ...asking });
    stations = [from, to];
    await from.listen();
    await to.listen();
    const host = new NotingHost();
    from.open(new NotingHost(), { tls: dial });
    to.open(host, { tls: { ...member, insecureSkipVerify: true } });
    from.transport.addPeer(to.id, [to.url]);
    to.transport.addPeer(from.id, [from.url]);
    return [from, to, host];
  }

  it('streams and posts, and a large append in many pieces', async () => {
    const [from, to, host] = await pair({ cert: member.cert, key: member.key, ca: member.ca }, member);
    const vote = Message.create({ type: MessageType.MsgVote, from: from.id, to: to.id, term: 2 });
    from.transport.send([vote]);
    await until('the post', () => host.messages.length === 1);
    await until('streams', () => from.logger.has(ESTABLISHED));
    const context = Buffer.alloc(3_000_000, 'c');
    from.transport.send([Message.create({ ...vote, context })]);
    await until('the message', () => host.messages.length === 2);
    assert.ok(host.messages[1]!.context.equals(context));
  });

  const refused: ReadonlyArray<readonly [what: string, dial: () => TlsDial, shown: () => Certificate, why: RegExp]> = [
    ['without a certificate', () => ({ ca: member.ca }), () => member, /alert|closed|reset|hang up|ECONNRESET|EPROTO/i],
    [
      'with a certificate of another authority',
      () => ({ cert: stranger.cert, key: stranger.key, ca: member.ca }),
      () => member,
      /alert|closed|reset|hang up|ECONNRESET|EPROTO/i,
    ],
    ['a server of another authority', () => ({ ...member }), () => stranger, /unable to verify|self.signed|issuer/i],
    ['a server of another name', () => ({ ...member }), () => named, /does not match|altname/i],
  ];
  for (const [what, dial, shown, why] of refused) {
    it(`refuses: ${what}`, async () => {
      const [from] = await pair(dial(), shown());
      await until('a failure', () => from.logger.has('failed to dial'));
      assert.match(from.logger.lines.find((line) => line.includes('failed to dial'))!, why);
      assert.ok(!from.logger.has(ESTABLISHED));
    });
  }

  it('takes a server by the name it is to have', async () => {
    const [from] = await pair({ ...member, serverName: 'etsd.test' }, named);
    await until('streams', () => from.logger.has(ESTABLISHED));
  });

  it('takes any server where it is told not to look', async () => {
    const [from] = await pair({ cert: member.cert, key: member.key, insecureSkipVerify: true }, stranger);
    await until('streams', () => from.logger.has(ESTABLISHED));
  });

  it('dials with the certificates of the moment', async () => {
    let now: TlsDial = { cert: stranger.cert, key: stranger.key, ca: member.ca };
    const [from] = await pair({ current: () => now }, member);
    await until('a failure', () => from.logger.has('failed to dial'));
    now = { cert: member.cert, key: member.key, ca: member.ca };
    await until('streams', () => from.logger.has(ESTABLISHED));
  });
});
