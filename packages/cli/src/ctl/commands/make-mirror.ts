import { EMPTY } from '@etsd/base';
import { type EtcdClient, prefix } from '@etsd/client';
import {
  DeleteRangeRequest,
  type Event,
  EventType,
  type KeyValue,
  PutRequest,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments } from '../failure.ts';
import { flag } from '../flags.ts';
import { askPassword } from '../terminal.ts';

const REPORT_MS = 30_000;
const PAGE_KEYS = 1000;

/** Keys of the source and what they are called at the destination. */
class Renaming {
  private readonly from: Buffer;
  private readonly to: Buffer;

  constructor(from: string, to: string) {
    this.from = Buffer.from(from);
    this.to = Buffer.from(to);
  }

  of(key: Buffer): Buffer {
    return Buffer.concat([this.to, key.subarray(this.from.length)]);
  }
}

class Mirror {
  private readonly destination: EtcdClient;
  private readonly renaming: Renaming;
  private readonly opsMax: number;
  mirrored = 0;

  constructor(destination: EtcdClient, renaming: Renaming, opsMax: number) {
    this.destination = destination;
    this.renaming = renaming;
    this.opsMax = opsMax;
  }

  async copy(kv: KeyValue): Promise<void> {
    await this.destination.kv.put(this.renaming.of(kv.key), kv.value);
    this.mirrored++;
  }

  /** Applies the events of one revision as one, as far as the size of a transaction allows. */
  async apply(events: readonly Event[]): Promise<void> {
    let operations: RequestOp[] = [];
    let revision = 0;
    const commit = async (): Promise<void> => {
      if (operations.length === 0) return;
      await this.destination.kv.txnRaw(TxnRequest.create({ success: operations }));
      this.mirrored += operations.length;
      operations = [];
    };
    for (const event of events) {
      if (event.kv === null) continue;
      if (event.kv.modRevision !== revision || operations.length >= this.opsMax) await commit();
      revision = event.kv.modRevision;
      const key = this.renaming.of(event.kv.key);
      operations.push(
        event.type === EventType.PUT
          ? RequestOp.create({ requestPut: PutRequest.create({ key, value: event.kv.value }) })
          : RequestOp.create({ requestDeleteRange: DeleteRangeRequest.create({ key, rangeEnd: EMPTY }) }),
      );
    }
    await commit();
  }
}

async function connectDestination(context: Context): Promise<EtcdClient> {
  const { args, flags, surroundings } = context;
  const user = flags.text('dest-user');
  const needsPrompt = user !== '' && !user.includes(':') && flags.text('dest-password') === '';
  return context.connect({
    endpoints: [args[0] as string],
    cert: flags.text('dest-cert'),
    key: flags.text('dest-key'),
    cacert: flags.text('dest-cacert'),
    insecureTransport: flags.flag('dest-insecure-transport'),
    insecureSkipVerify: false,
    user,
    password: needsPrompt ? await askPassword('Destination Password: ', surroundings) : flags.text('dest-password'),
  });
}

export const MAKE_MIRROR_COMMAND: Command = {
  name: 'make-mirror',
  summary: 'Keep a copy of the keys in another cluster',
  usage: 'DESTINATION',
  group: 'Cluster maintenance',
  description: [
    'Copies what is there, then every change, until interrupted. Every 30 seconds prints how many changes were mirrored.',
    'What the destination has under these keys and the source has not, stays.',
  ].join('\n'),
  examples: [
    ['Everything', 'make-mirror other:2379'],
    ['One prefix under another', 'make-mirror other:2379 --prefix=app/ --dest-prefix=copy/'],
  ],
  flags: [
    flag('dest-cacert', 'string', '', 'verify the destination with the authorities in this file (PEM)'),
    flag('dest-cert', 'string', '', 'certificate to show to the destination (PEM)'),
    flag('dest-insecure-transport', 'bool', 'true', 'do without TLS to the destination'),
    flag('dest-key', 'string', '', 'private key of --dest-cert (PEM)'),
    flag('dest-password', 'string', '', 'password of --dest-user'),
    flag('dest-prefix', 'string', '', 'prefix that replaces --prefix at the destination'),
    flag('dest-user', 'string', '', 'log in at the destination as NAME or NAME:PASSWORD'),
    flag('max-txn-ops', 'uint', '128', 'changes that go into one transaction at most'),
    flag('no-dest-prefix', 'bool', 'false', 'keys have no prefix at the destination'),
    flag('prefix', 'string', '', 'only keys that begin with this'),
    flag('rev', 'int', '0', 'do not copy what is there; begin with the changes of this revision'),
  ],
  async run(context) {
    const { args, flags } = context;
    if (args.length !== 1)
      throw badArguments('make-mirror takes one destination argument', 'write: make-mirror HOST:PORT');
    const source = flags.text('prefix');
    let target = flags.text('dest-prefix');
    if (flags.flag('no-dest-prefix')) {
      if (target !== '') {
        throw badArguments('`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one');
      }
    } else if (target === '') target = source;
    const destination = await connectDestination(context);
    const client = await context.client();
    const mirror = new Mirror(destination, new Renaming(source, target), flags.number('max-txn-ops'));
    const report = setInterval(() => context.line(String(mirror.mirrored)), REPORT_MS);
    try {
      let startRevision = flags.number('rev');
      if (startRevision === 0) {
        const revision = (await client.kv.range({ key: Buffer.from('foo') })).header?.revision ?? 0;
        for await (const kv of client.kv.list(prefix(source), { revision, pageSize: PAGE_KEYS })) await mirror.copy(kv);
        startRevision = revision + 1;
      }
      for await (const response of client.watch(prefix(source), { startRevision })) await mirror.apply(response.events);
    } finally {
      clearInterval(report);
    }
  },
};
