/** `etsdutl encryption`: what of a data directory or an archive is encrypted with which key, and changing that. */
import { randomBytes } from 'node:crypto';
import { OperatorError } from '@etsd/base';
import { rewriteAll, type StoredFile, sealedFiles } from '@etsd/server/files';
import type { Command } from '../ctl/command.ts';
import type { Context } from '../ctl/context.ts';
import { badArguments, ExitCode, Failure } from '../ctl/failure.ts';
import { type Flag, flag } from '../ctl/flags.ts';
import { jsonArray, jsonObject, jsonText } from '../ctl/go-json.ts';
import type { View } from '../ctl/view.ts';
import { rescueFailure } from './rescue-failure.ts';
import { sealing, world } from './world.ts';

const GROUP = 'Files of a cluster';
const WAL_DIR: Flag = flag('wal-dir', 'string', '', 'the log of the data directory, where it does not lie in it');

function pathsOf({ args, flags }: Context, name: string): string[] {
  if (args.length === 0) throw badArguments(`encryption ${name} needs a path`, `write: encryption ${name} PATH…`);
  const walDir = flags.text('wal-dir');
  return [...args, ...(walDir === '' ? [] : [walDir])].map((path) => path.replace(/(.)\/+$/, '$1'));
}

/** How an encrypted or a plain file is told. */
export function describeFile({ path, state, head }: StoredFile): string {
  if (state === 'encrypted' && head !== null) return `encrypted with "${head.keyId}"${missing(head)}: ${path}`;
  if (state === 'store') return `the store, never encrypted: ${path}`;
  return state === 'damaged' ? `encrypted, DAMAGED at byte 0: ${path}` : `plain: ${path}`;
}

function missing({ keyId, fingerprint }: NonNullable<StoredFile['head']>): string {
  if (sealing.keys.keys.length === 0) return '';
  const key = sealing.keys.find(keyId);
  if (key === null) return ' (NOT AMONG THE KEYS GIVEN)';
  return key.fingerprint.equals(fingerprint) ? '' : ' (ANOTHER KEY THAN THE ONE GIVEN)';
}

/** How many files need each key, by its name. */
function needs(files: readonly StoredFile[]): Map<string, number> {
  const counts = new Map<string, number>(sealing.keys.keys.map(({ id }) => [id, 0]));
  for (const { head } of files) if (head !== null) counts.set(head.keyId, (counts.get(head.keyId) ?? 0) + 1);
  return counts;
}

function statusView(all: readonly StoredFile[]): View {
  const files = all.filter(({ state }) => state !== 'other');
  const counts = needs(files);
  const plain = files.filter(({ state }) => state === 'plain').length;
  const { newest } = sealing.keys;
  const keyLines = [...counts].map(([id, count]) => {
    const needed = `key "${id}": ${count} files${id === newest?.id ? '; it writes' : ''}`;
    return count === 0 && id !== newest?.id ? `${needed}; nothing here needs it` : needed;
  });
  return {
    simple: () =>
      [...files.map(describeFile), ...keyLines, `plain: ${plain} files`].map((line) => `${line}\n`).join(''),
    table: () => ({
      headings: ['FILE', 'STATE', 'KEY', 'FINGERPRINT'],
      rows: files.map(({ path, state, head }) => [
        path,
        state,
        head?.keyId ?? '',
        head?.fingerprint.toString('hex') ?? '',
      ]),
    }),
    json: () =>
      jsonObject({
        files: jsonArray(
          files.map(({ path, state, head }) =>
            jsonObject({
              path: jsonText(path),
              state: jsonText(state),
              key: head === null ? null : jsonText(head.keyId),
              fingerprint: head === null ? null : jsonText(head.fingerprint.toString('hex')),
            }),
          ),
        ),
        keys: jsonArray(
          [...counts].map(([id, count]) =>
            jsonObject({ key: jsonText(id), files: String(count), writes: String(id === newest?.id) }),
          ),
        ),
        plain: String(plain),
      }),
  };
}

const status: Command = {
  name: 'status',
  summary: 'Print which files are encrypted with which key, and which keys nothing needs any more',
  usage: 'PATH…',
  description: [
    'Of data directories, archives and saved snapshots. Needs no key; with the keys it says too which of them nothing needs:',
    'name every place that they were used for. The exit status is 1 where a key is missing or a file is damaged.',
  ].join('\n'),
  examples: [['Which keys can go', 'encryption status m1.etcd /backup/etsd --encryption-key-file keys']],
  flags: [WAL_DIR],
  async run(context) {
    context.prepare();
    const paths = pathsOf(context, 'status');
    const files: StoredFile[] = [];
    try {
      for (const path of paths) {
        if ((await world.disk.stat(path)) === null)
          throw new OperatorError(`there is nothing at ${path}`, 'Check the path.');
      }
      for await (const file of sealedFiles(world.disk.beneath, paths)) files.push(file);
    } catch (error) {
      throw rescueFailure(error);
    }
    context.print(statusView(files));
    const bad = files.filter(({ state, head }) => state === 'damaged' || (head !== null && missing(head) !== ''));
    if (bad.length > 0)
      throw new Failure(ExitCode.ERROR, `${bad.length} files cannot be read`, 'put the missing keys back');
  },
};

async function rewrite(context: Context, name: string, decrypts: boolean): Promise<void> {
  context.prepare();
  const { args } = context;
  if (args.length === 0) throw badArguments(`encryption ${name} needs a path`, `write: encryption ${name} PATH…`);
  try {
    const result = await rewriteAll({
      disk: world.disk,
      paths: args.map((path) => path.replace(/(.)\/+$/, '$1')),
      walDir: context.flags.text('wal-dir'),
      decrypts,
      rewritten: (path) => context.line(path),
    });
    const state = decrypts ? 'plain' : `encrypted with "${sealing.keys.newest?.id}"`;
    context.line(`${result.rewritten} files rewritten, ${result.kept} were as wanted: ${state}`);
    for (const line of result.left) context.line(`left as it is: ${line}`);
  } catch (error) {
    throw rescueFailure(error);
  }
}

const rotate: Command = {
  name: 'rotate',
  summary: 'Encrypt everything with the newest key: what has an older one, and what is plain',
  usage: 'PATH…',
  description: [
    'Of data directories that no member uses, of archives that none writes to, of saved snapshots. Each file is replaced as a',
    'whole, after it was compared, so that it can be begun anew. A running member does without: what it writes has the newest',
    'key, and older files go with time; this is for those who will not wait, and for what lies elsewhere.',
  ].join('\n'),
  examples: [['', 'encryption rotate m1.etcd --encryption-key-file keys']],
  flags: [WAL_DIR],
  run: (context) => rewrite(context, 'rotate', false),
};

const decrypt: Command = {
  name: 'decrypt',
  summary: 'Make everything plain again',
  usage: 'PATH…',
  description: 'As rotate. Start the member without keys afterwards.',
  examples: [['', 'encryption decrypt m1.etcd --encryption-key-file keys']],
  flags: [WAL_DIR],
  run: (context) => rewrite(context, 'decrypt', true),
};

const newKey: Command = {
  name: 'new-key',
  summary: 'Print a line with a new random key, to be put at the end of the key file',
  usage: 'NAME',
  examples: [['', 'encryption new-key 2026-11 >> keys']],
  run(context) {
    const [id, ...rest] = context.args;
    if (id === undefined || rest.length > 0 || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/.test(id)) {
      throw badArguments(
        'encryption new-key needs a name of up to 32 letters and digits',
        'write: encryption new-key 2026-11',
      );
    }
    context.line(`${id} ${randomBytes(32).toString('hex')}`);
  },
};

export const ENCRYPTION: Command = {
  name: 'encryption',
  summary: 'Encryption at rest: which key encrypts what, and exchanging keys',
  group: GROUP,
  commands: [decrypt, newKey, rotate, status],
};
