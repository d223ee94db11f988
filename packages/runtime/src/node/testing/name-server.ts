import { createSocket } from 'node:dgram';
import type { ServiceRecord } from '../../names.ts';

/** Type and class of the records served (RFC 2782, RFC 1035). */
const SRV = 33;
const INTERNET = 1;
const HEAD_BYTES = 12;

function encodedName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function encodedRecord({ target, port, priority, weight }: ServiceRecord): Buffer {
  const name = encodedName(target);
  const head = Buffer.alloc(18);
  head.writeUInt16BE(0xc000 + HEAD_BYTES, 0); // the name in the question
  head.writeUInt16BE(SRV, 2);
  head.writeUInt16BE(INTERNET, 4);
  head.writeUInt16BE(6 + name.length, 10);
  head.writeUInt16BE(priority, 12);
  head.writeUInt16BE(weight, 14);
  head.writeUInt16BE(port, 16);
  return Buffer.concat([head, name]);
}

/** A name server on this machine that knows these services and nothing else; `address` is for `NodeNames`. */
export async function startNameServer(
  services: ReadonlyMap<string, readonly ServiceRecord[]>,
): Promise<{ address: string; close: () => void }> {
  const socket = createSocket('udp4');
  const known = [...services].map(([name, records]) => ({ name: encodedName(name), records }));
  socket.on('message', (question, from) => {
    const found = known.find(({ name }) => question.subarray(HEAD_BYTES, HEAD_BYTES + name.length).equals(name));
    const answers = (found?.records ?? []).map(encodedRecord);
    const head = Buffer.from(question.subarray(0, HEAD_BYTES));
    head.writeUInt16BE(found === undefined ? 0x8183 : 0x8180, 2); // no such name, or an answer
    head.writeUInt16BE(answers.length, 6);
    head.writeUInt32BE(0, 8);
    const asked = question.subarray(HEAD_BYTES, question.indexOf(0, HEAD_BYTES) + 5);
    socket.send(Buffer.concat([head, asked, ...answers]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}
