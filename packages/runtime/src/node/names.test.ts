import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { NodeNames } from './names.ts';

function encodedName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function record(priority: number, weight: number, port: number, target: string): Buffer {
  const numbers = Buffer.alloc(18);
  numbers.writeUInt16BE(0xc00c, 0); // the name of the question
  numbers.writeUInt16BE(33, 2); // SRV
  numbers.writeUInt16BE(1, 4);
  const name = encodedName(target);
  numbers.writeUInt16BE(6 + name.length, 10);
  numbers.writeUInt16BE(priority, 12);
  numbers.writeUInt16BE(weight, 14);
  numbers.writeUInt16BE(port, 16);
  return Buffer.concat([numbers, name]);
}

/** A name server with two records for one service, and nothing else. */
async function nameServer(service: string): Promise<{ address: string; close: () => void }> {
  const socket = createSocket('udp4');
  const wanted = encodedName(service);
  socket.on('message', (question, from) => {
    const known = question.subarray(12, 12 + wanted.length).equals(wanted);
    const answers = known ? [record(20, 0, 2381, 'two.test'), record(10, 0, 2380, 'one.test')] : [];
    const head = Buffer.from(question.subarray(0, 12));
    head.writeUInt16BE(known ? 0x8180 : 0x8183, 2);
    head.writeUInt16BE(answers.length, 6);
    head.writeUInt32BE(0, 8);
    const asked = question.subarray(12, question.indexOf(0, 12) + 5);
    socket.send(Buffer.concat([head, asked, ...answers]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}

test('an address stands for itself, localhost for one of this machine', async () => {
  const names = new NodeNames();
  assert.deepEqual(await names.addresses('192.0.2.7'), ['192.0.2.7']);
  assert.deepEqual(await names.addresses('::1'), ['::1']);
  assert.equal((await names.addresses('localhost'))[0], '127.0.0.1');
});

// Goal: the records of a service come from a name server over the network, the preferred first.
test('services are asked of the name server, in the order of preference', async () => {
  const server = await nameServer('_etcd-server._tcp.example.test');
  try {
    const names = new NodeNames([server.address]);
    const found = await names.services('_etcd-server._tcp.example.test');
    assert.deepEqual(
      found.map(({ target, port }) => `${target}:${port}`),
      ['one.test:2380', 'two.test:2381'],
    );
    await assert.rejects(names.services('_other._tcp.example.test'), /ENOTFOUND/);
  } finally {
    server.close();
  }
});
