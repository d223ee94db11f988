/** Goal: peer URLs lead where etcd's do, and what is no URL of a peer is none. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PeerUrls, parsePeerUrl } from './peer-urls.ts';

describe('peer URLs', () => {
  const good: ReadonlyArray<readonly [url: string, isSecure: boolean, socketPath: string | null, where: string]> = [
    ['http://10.0.0.1:2380', false, null, '10.0.0.1 2380'],
    ['https://member-1.example:2380', true, null, 'member-1.example 2380'],
    ['http://member', false, null, 'member 80'],
    ['https://member/', true, null, 'member 443'],
    ['http://[::1]:2380', false, null, '::1 2380'],
    ['unix://member:2380', false, 'member:2380', 'localhost 0'],
    ['unix:///run/etsd/peer.sock', false, '/run/etsd/peer.sock', 'localhost 0'],
    ['unixs:///run/etsd/peer.sock', true, '/run/etsd/peer.sock', 'localhost 0'],
  ];
  for (const [url, isSecure, socketPath, where] of good) {
    it(`takes ${url}`, () => {
      const address = parsePeerUrl(url);
      assert.ok(address !== null);
      assert.deepEqual([address.isSecure, address.socketPath], [isSecure, socketPath]);
      assert.equal(`${address.host} ${address.port}`, where);
    });
  }

  const bad = [
    '',
    'http://',
    'unix://',
    'member:2380',
    'ftp://member:2380',
    'http://member:2380/path',
    'http://member:70000',
    'http://member:port',
    'http://user@member:2380',
    'http://[::1:2380',
    'http://member:2380?a=b',
  ];
  for (const url of bad) it(`does not take ${JSON.stringify(url)}`, () => assert.equal(parsePeerUrl(url), null));

  it('one after the other when they fail, each failure counting once', () => {
    const urls = new PeerUrls(['http://a:1', 'nonsense', 'http://b:2']);
    const first = urls.pick()!;
    urls.unreachable(first);
    urls.unreachable(first);
    const second = urls.pick()!;
    assert.deepEqual([first.host, second.host], ['a', 'b']);
    urls.unreachable(second);
    assert.equal(urls.pick(), first);
    assert.equal(new PeerUrls([]).pick(), null);
  });
});
