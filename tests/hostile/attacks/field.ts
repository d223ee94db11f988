import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdClient } from '@etsd/client';
import { freePort } from '@etsd/testkit';
import { TestAuthorities } from '../../support/certificates.ts';
import { startServer } from '../../support/server.ts';
import { grpcHeaders, grpcMessage, PREFACE, settings } from '../raw.ts';
import type { Battlefield, CertificateFiles } from './battle.ts';
import { Bystander } from './bystander.ts';
import { ignoreAnswers, open, pause } from './weapons.ts';

/** Who attacks comes from here, who is attacked and who measures from 127.0.0.1. */
const ATTACKER = process.platform === 'linux' ? '127.0.0.66' : '127.0.0.1';

/** Between two who connect, in milliseconds: within what an address may have. */
const EVERY_MS = 30;

/** A member over TLS, in memory some megabytes that can be asked for, and a client of it that has been there for a while. */
export async function prepareField(options: {
  readonly tls: boolean;
  readonly flags?: readonly string[];
  readonly perSecond: number;
  /** Where its data are; default: where the system has temporary files. */
  readonly dataRoot?: string | undefined;
}): Promise<Battlefield> {
  const { tls } = options;
  const port = await freePort();
  const plain = `http://127.0.0.1:${await freePort()}`;
  const files = certificate();
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const server = await startServer({
    product: 'etsd',
    ...(options.dataRoot === undefined ? {} : { dataRoot: options.dataRoot }),
    flags: [
      ...['--listen-client-urls', `${url},${plain}`, '--advertise-client-urls', url],
      ...(tls ? ['--cert-file', files.certFile, '--key-file', files.keyFile] : []),
      ...(options.flags ?? []),
    ],
  });
  const filler = new EtcdClient({ endpoints: plain.replace('http://', '') });
  for (let index = 0; index < 20; index++) await filler.kv.put(`bulk/${index}`, 'v'.repeat(500_000));
  await filler.close();
  const target = { host: '127.0.0.1', port, tls, from: ATTACKER };
  const bystander = new Bystander(target, options.perSecond);
  return { server, target, plain, bystander, certificate: files };
}

/** As members have them: of a curve that is quick to sign with, where etcd's made certificates are slow. */
function certificate(): CertificateFiles {
  const files = new TestAuthorities(mkdtempSync(join(tmpdir(), 'etsd-attacks-')));
  process.once('exit', () => rmSync(files.folder, { recursive: true, force: true }));
  files.authority('ca');
  files.issue('ca', 'server');
  return { certFile: files.at('server.pem'), keyFile: files.at('server.key') };
}

/** What somebody who has just connected asks first. */
const QUESTION = Buffer.concat([
  ...[PREFACE, settings([]), grpcHeaders(1, '/etcdserverpb.KV/Range')],
  grpcMessage(1, Buffer.from([0x0a, 1, 0x61])),
]);

/** A member that has been in service: what it does for those who connect is compiled, as it is after its first minute. */
export async function season({ target }: Battlefield): Promise<void> {
  for (let index = 0; index < 150; index++) {
    const socket = await open({ ...target, from: '127.0.0.1' }, 'h2');
    if (socket !== null) ignoreAnswers(socket).write(QUESTION);
    await pause(EVERY_MS);
    socket?.destroy();
  }
}

export async function leaveField({ bystander, server }: Battlefield): Promise<void> {
  await bystander.close();
  await server.dispose();
}
