/** Secrets that the operator keeps in a file of his own, or lets a command print. */
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { errorFrom, OperatorError } from '@etsd/base';

const SECRET_BYTES_MAX = 1024 * 1024;
const COMMAND_MS_MAX = 60_000;
const OTHERS = 0o077;

/** The content of a file that nobody else may read or write. Throws an `OperatorError` where it is too open or not there. */
export async function readSecretFile(path: string): Promise<Buffer> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw new OperatorError(`cannot read ${path}: ${errorFrom(error).message}`, 'Check the path and its permissions.');
  }
  try {
    const { mode, size } = await file.stat();
    if ((mode & OTHERS) !== 0) {
      const open = (mode & 0o777).toString(8).padStart(4, '0');
      throw new OperatorError(
        `${path} has mode ${open}: others may get at the keys in it`,
        `Allow nobody else: chmod 600 ${path}`,
      );
    }
    if (size > SECRET_BYTES_MAX) throw new OperatorError(`${path} has ${size} bytes`, 'Name a file with secrets only.');
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** What a line of the shell prints. Throws an `OperatorError`, with what it said besides, where it fails. */
export function runSecretCommand(line: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { timeout: COMMAND_MS_MAX, maxBuffer: SECRET_BYTES_MAX, encoding: 'buffer' as const };
    const child = execFile('/bin/sh', ['-c', line], options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = stderr.toString('utf8').trim().slice(-500);
      const status = error.killed === true ? 'took too long' : `ended with status ${error.code ?? error.signal}`;
      reject(
        new OperatorError(
          `the command that prints the keys ${status}${said === '' ? '' : `: ${said}`}`,
          `Try it in a shell: ${line}`,
        ),
      );
    });
    child.stdin?.end();
  });
}
