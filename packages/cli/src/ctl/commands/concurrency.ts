import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { acquire, campaign, type HeldLease, observe } from '@etsd/client';
import { RangeResponse } from '@etsd/proto';
import type { Command } from '../command.ts';
import type { Context } from '../context.ts';
import { badArguments, ExitCode, Failure } from '../failure.ts';
import { flag } from '../flags.ts';
import { quote } from '../go.ts';
import { getView } from '../views/kv.ts';

const GROUP = 'Locks and elections';
const ELECT_TTL_SECONDS = 60;

/** Aborted by the first SIGINT or SIGTERM, which then does not end the program. */
function untilSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort(name));
  return controller.signal;
}

/** Resolves when one of the signals is aborted. */
function aborted(...signals: AbortSignal[]): Promise<void> {
  const any = AbortSignal.any(signals);
  return new Promise((resolve) => {
    if (any.aborted) resolve();
    else any.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Runs a command and gives its exit status, as a shell would. */
function execute(words: readonly string[], env: Record<string, string | undefined>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(words[0] as string, words.slice(1), { stdio: 'inherit', env });
    child.on('error', () => {
      const text = `exec: ${quote(Buffer.from(words[0] as string))}: executable file not found in $PATH`;
      reject(new Failure(ExitCode.ERROR, text));
    });
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

async function printKey(context: Context, key: Buffer): Promise<void> {
  const client = await context.client();
  const response = await client.kv.range({ key });
  context.print(getView(RangeResponse.create(response), context.style));
}

const lock: Command = {
  name: 'lock',
  summary: 'Hold a lock, or run a command under it',
  usage: 'NAME [-- COMMAND ARGS…]',
  group: GROUP,
  description: [
    'Waits for the lock. Without COMMAND prints the key that stands for it and holds it until interrupted. A COMMAND finds',
    'ETCD_LOCK_KEY and ETCD_LOCK_REV in its environment, and its exit status is the one of this program.',
  ].join('\n'),
  examples: [
    ['Hold a lock', 'lock deploy'],
    ['One backup at a time', 'lock backup -- ./backup.sh --full'],
  ],
  flags: [flag('ttl', 'int', '10', 'seconds after which the lock of a program that vanished is free again')],
  async run(context) {
    const [name, ...command] = context.args;
    if (name === undefined) {
      throw badArguments('lock takes a lock name argument and an optional command to execute', 'write: lock NAME');
    }
    const client = await context.client();
    const interrupted = untilSignal();
    const lease = await client.leases.hold(context.flags.number('ttl'));
    try {
      const held = await acquire(client, name, lease, { signal: interrupted });
      if (command.length > 0) {
        const env = { ETCD_LOCK_KEY: held.key.toString(), ETCD_LOCK_REV: String(held.revision) };
        const status = await execute(command, { ...context.surroundings.env, ...env });
        await held.release();
        if (status !== 0) throw new Failure(status, `exit status ${status}`);
        return;
      }
      await printKey(context, held.key);
      await aborted(interrupted, lease.signal);
      if (!interrupted.aborted) throw new Failure(ExitCode.ERROR, 'session expired');
      await held.release();
    } finally {
      await release(lease);
    }
  },
};

async function release(lease: HeldLease): Promise<void> {
  await lease.release({ timeoutMs: 1000 }).catch(() => {
    // The lease ends by itself when its time is over.
  });
}

const elect: Command = {
  name: 'elect',
  summary: 'Stand for election, or watch who leads',
  usage: 'NAME [PROPOSAL]',
  group: GROUP,
  description: 'Waits to be elected, prints the key and the proposal, and leads until interrupted.',
  examples: [
    ['Stand for election', 'elect scheduler host-1'],
    ['Watch who leads', 'elect --listen scheduler'],
  ],
  flags: [flag('listen', 'bool', 'false', 'only watch who leads', 'l')],
  async run(context) {
    const { args, flags } = context;
    const listen = flags.flag('listen');
    if (args.length !== 1 && args.length !== 2) {
      throw badArguments(
        'elect takes one election name argument and an optional proposal argument',
        'write: elect NAME PROPOSAL',
      );
    }
    const [name, proposal] = args as [string, string | undefined];
    if (proposal === undefined && !listen) {
      throw badArguments('no proposal argument but -l not set', 'write: elect NAME PROPOSAL, or: elect --listen NAME');
    }
    if (proposal !== undefined && listen)
      throw badArguments('proposal given but -l is set', 'write: elect --listen NAME');
    const client = await context.client();
    const interrupted = untilSignal();
    if (proposal === undefined) {
      for await (const kv of observe(client, name, { signal: interrupted })) {
        const response = RangeResponse.create({ kvs: [kv], count: 1 });
        context.print(getView(response, context.style));
      }
      return;
    }
    const lease = await client.leases.hold(ELECT_TTL_SECONDS);
    try {
      const leadership = await campaign(client, name, lease, proposal, { signal: interrupted });
      await printKey(context, leadership.key);
      await aborted(interrupted, lease.signal);
      if (!interrupted.aborted) throw new Failure(ExitCode.ERROR, 'elect: session expired');
      await leadership.resign();
    } finally {
      await release(lease);
    }
  },
};

export const CONCURRENCY_COMMANDS = [lock, elect] as const;
