/**
 * Locks between processes. Node has no call for `flock(2)`, but such a lock belongs to the open file description, not
 * to the process: a child that inherits our descriptor and runs the `flock` tool on it takes the lock for us, and it
 * stays ours after the child has gone, until the descriptor is closed or this process ends. It is the lock etcd takes.
 *
 * Where the tool is missing the lock is a neighbouring file that names the process holding it; it keeps two members of
 * ours apart, but not one of ours and an etcd.
 */
import { spawn } from 'node:child_process';
import { constants, promises } from 'node:fs';
import { diskError, hasCode, type Lock } from '../disk.ts';

/** From <fcntl.h> of the BSDs and macOS, where open itself can lock. */
const BSD_O_EXLOCK = 0x20;

type Outcome = 'taken' | 'held' | 'no tool';

function flock(fd: number): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['-x', '-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    child.on('error', (error) => (hasCode(error, 'ENOENT') ? resolve('no tool') : reject(error)));
    child.on('exit', (code) => resolve(code === 0 ? 'taken' : 'held'));
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !hasCode(error, 'ESRCH');
  }
}

async function lockByName(path: string, mode: number): Promise<Lock> {
  const name = `${path}.lock`;
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const handle = await promises.open(name, 'wx', mode);
      await handle.writeFile(String(process.pid));
      await handle.close();
      return { release: () => promises.rm(name, { force: true }) };
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    const holder = Number.parseInt(await promises.readFile(name, 'utf8').catch(() => ''), 10);
    if (isAlive(holder)) throw held(path);
    await promises.rm(name, { force: true });
  }
  throw held(path);
}

function held(path: string): Error {
  return diskError('ELOCKED', `another process holds ${path}`);
}

/** Takes the exclusive lock of the file at `path`, which is made where missing. Fails with `ELOCKED` if it is held. */
export async function lockFile(path: string, mode: number): Promise<Lock> {
  const flags = constants.O_RDWR | constants.O_CREAT;
  if (process.platform === 'darwin' || process.platform === 'freebsd') {
    try {
      const handle = await promises.open(path, flags | BSD_O_EXLOCK | constants.O_NONBLOCK, mode);
      return { release: () => handle.close() };
    } catch (error) {
      throw hasCode(error, 'EAGAIN') ? held(path) : error;
    }
  }
  const handle = await promises.open(path, flags, mode);
  const outcome = await flock(handle.fd);
  if (outcome === 'taken') return { release: () => handle.close() };
  await handle.close();
  if (outcome === 'held') throw held(path);
  return lockByName(path, mode);
}
