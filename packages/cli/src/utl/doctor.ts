/** `etsdutl doctor`: what is wrong with a data directory, and what is safe to do about it. */
import {
  type Finding,
  type Inspection,
  judge,
  repairDirectory,
  type StoredFile,
  sealedFiles,
} from '@etsd/server/files';
import type { Command } from '../ctl/command.ts';
import type { Context } from '../ctl/context.ts';
import { badArguments, ExitCode, Silent } from '../ctl/failure.ts';
import { flag } from '../ctl/flags.ts';
import { jsonArray, jsonObject, jsonText } from '../ctl/go-json.ts';
import type { View } from '../ctl/view.ts';
import { describeFile } from './encryption.ts';
import { StderrLogger, world } from './files.ts';
import { describeDirectory, inspect, inspectionJson } from './inspection.ts';
import { rescueFailure } from './rescue-failure.ts';

async function examine(context: Context): Promise<void> {
  context.prepare();
  const { args, flags } = context;
  const [dataDir] = args;
  if (dataDir === undefined || args.length !== 1)
    throw badArguments('doctor requires one directory', 'write: doctor DIR');
  const walDir = flags.text('wal-dir');
  try {
    let inspection = await inspect(dataDir, walDir);
    let findings = judge(inspection);
    let repaired: string[] = [];
    if (flags.flag('repair')) {
      repaired = await repairDirectory({ world, logger: new StderrLogger(context), dataDir, walDir, findings });
      inspection = await inspect(dataDir, walDir);
      findings = judge(inspection);
    }
    context.print(doctorView(inspection, findings, repaired, await encrypted([dataDir, walDir])));
    if (findings.some(({ severity }) => severity === 'problem')) throw new Silent(ExitCode.ERROR);
  } catch (error) {
    throw rescueFailure(error);
  } finally {
    await world.workers.close();
  }
}

/** The files that are encrypted, or were, each with the name of its key. None where nothing is. */
async function encrypted(directories: readonly string[]): Promise<StoredFile[]> {
  const found: StoredFile[] = [];
  const paths = directories.filter((path) => path !== '');
  for await (const file of sealedFiles(world.disk.beneath, paths)) {
    if (file.state === 'encrypted' || file.state === 'damaged') found.push(file);
  }
  return found;
}

function findingLines({ severity, where, what, lost, advice }: Finding): string[] {
  const lines = [`${severity === 'problem' ? 'PROBLEM' : 'note'}  ${where}`, `  ${what}`];
  if (severity === 'problem') lines.push(`  lost: ${lost === '' ? 'nothing that was acknowledged' : lost}`);
  if (advice !== '') lines.push(`  do: ${advice}`);
  return lines;
}

function doctorView(
  inspection: Inspection,
  findings: readonly Finding[],
  repaired: readonly string[],
  sealed: readonly StoredFile[],
): View {
  const isHealthy = findings.every(({ severity }) => severity !== 'problem');
  const verdict = isHealthy ? 'healthy' : 'not healthy: do not start this member before that is mended';
  const lines = [
    ...describeDirectory(inspection),
    ...sealed.map((file) => `  ${describeFile(file)}`),
    ...repaired.map((line) => `repaired: ${line}`),
    ...findings.flatMap(findingLines),
    verdict,
  ];
  return {
    simple: () => `${lines.join('\n')}\n`,
    json: () =>
      jsonObject({
        healthy: String(isHealthy),
        directory: inspectionJson(inspection),
        findings: `[${findings.map(findingJson).join(',')}]`,
        repaired: `[${repaired.map(jsonText).join(',')}]`,
        encrypted: jsonArray(
          sealed.map(({ path, head }) =>
            jsonObject({ file: jsonText(path), key: head === null ? null : jsonText(head.keyId) }),
          ),
        ),
      }),
  };
}

function findingJson({ severity, where, what, lost, advice, repair }: Finding): string {
  return jsonObject({
    severity: jsonText(severity),
    where: jsonText(where),
    what: jsonText(what),
    lost: jsonText(lost),
    advice: jsonText(advice),
    repair: repair === null ? null : jsonText(repair),
  });
}

export const DOCTOR: Command = {
  name: 'doctor',
  summary: 'Say what is wrong with a data directory, what was lost, and what is safe to do',
  usage: 'DIRECTORY',
  group: 'Files of a cluster',
  description: [
    'Reads all of the log and the store of a stopped member; exit code 0: healthy, 1: there are problems. Changes nothing',
    'without --repair, which does only what cannot lose anything, and keeps a copy of what it touches.',
  ].join('\n'),
  examples: [
    ['', 'doctor /var/lib/etsd'],
    ['Cut off the half record that a crash left', 'doctor /var/lib/etsd --repair'],
    ['For programs', 'doctor /var/lib/etsd -w json'],
  ],
  flags: [
    flag('repair', 'bool', 'false', 'do what is safe'),
    flag('wal-dir', 'string', '', 'directory of the log, where it is not below the data directory'),
  ],
  run: examine,
};
