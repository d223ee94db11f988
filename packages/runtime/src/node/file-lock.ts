/**
 * Locks between processes. Node has no call for `flock(2)` or `fcntl(2)`, but such a lock belongs to the open file
 * description, not to the process: a child that inherits our descriptor and runs the `flock` tool on it takes the lock
 * for us, and it stays ours after the child has gone, until the descriptor is closed or this process ends.
 *
 * etcd takes the other kind of lock that belongs to a description (`F_OFD_SETLK`), and the two kinds do not see each
 * other. So we take both: with perl, which Debian always has and which needs one start for it, else with the tool
 * (util-linux 2.41 and later take the second kind). Where neither can, we still see in /proc/locks that an etcd holds
 * the file, but an etcd does not see us.
 *
 * Where the tool is missing altogether the lock is a neighbouring file that names the process holding it.
 */
import { spawn } from 'node:child_process';
import { close, closeSync, constants, fstatSync, openSync, promises } from 'node:fs';
import { diskError, hasCode, type Lock } from '../disk.ts';

/** From <fcntl.h> of the BSDs and macOS, where open itself can lock. */
const BSD_O_EXLOCK = 0x20;

/** What the tool answers when somebody else has the lock; any other code but 0 says that it cannot do what was asked. */
const EXIT_HELD = 1;

/**
 * Both locks in one program: flock(2), then fcntl(2) with F_OFD_SETLK and the `struct flock` of 64-bit Linux for a write
 * lock over the whole file. Exit codes as of the tool; the numbers are LOCK_EX | LOCK_NB, EAGAIN and EACCES, written out
 * because loading perl's modules would take longer than the locks.
 */
const PERL_LOCK = `
  open(my $file, '+<&=', 3) or exit 2;
  my $lock = pack('s s x4 q q l x4', 1, 0, 0, 0, 0);
  exit 0 if flock($file, 6) && fcntl($file, 37, $lock);
  exit(($! == 11 || $! == 13) ? 1 : 2);
`;

type Outcome = 'taken' | 'held' | 'unsupported';

let hasTool = true;
let hasFcntl = true;
let hasPerl = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);

/** Runs a program that locks its descriptors from 3 on, which are ours. */
function runTool(fds: readonly number[], program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', ...fds] });
    child.on('error', (error) => (hasCode(error, 'ENOENT') ? resolve('unsupported') : reject(error)));
    child.on('exit', (code) => resolve(code === 0 ? 'taken' : code === EXIT_HELD ? 'held' : 'unsupported'));
  });
}

/** Whether /proc/locks names a lock of etcd's kind on the file; other systems have no such list and no such locks. */
async function isHeldByDescription(fd: number): Promise<boolean> {
  const list = await promises.readFile('/proc/locks', 'latin1').catch(() => '');
  if (!list.includes('OFDLCK')) return false;
  const { dev, ino } = fstatSync(fd);
  const major = Math.floor(dev / 256) % 4096;
  const minor = (dev % 256) + Math.floor(dev / 0x10_0000) * 256;
  const file = `${hex(major)}:${hex(minor)}:${ino}`;
  return list.split('\n').some((line) => line.includes('OFDLCK') && line.split(/\s+/).includes(file));
}

function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}

async function lockDescription(fd: number): Promise<Outcome> {
  if (!hasTool && !hasPerl) return 'unsupported';
  if (hasPerl) {
    const outcome = await runTool([fd], 'perl', ['-e', PERL_LOCK]);
    if (outcome !== 'unsupported') return outcome;
    hasPerl = false;
  }
  // The tool may see no lock of etcd's kind.
  if (await isHeldByDescription(fd)) return 'held';
  return await lockWithTool(fd);
}

async function lockWithTool(fd: number): Promise<Outcome> {
  const outcome = hasTool ? await runTool([fd], 'flock', ['-x', '-n', '3']) : 'unsupported';
  hasTool = outcome !== 'unsupported';
  if (outcome !== 'taken' || !hasFcntl) return outcome;
  const second = await runTool([fd], 'flock', ['--fcntl', '-x', '-n', '3']);
  hasFcntl = second !== 'unsupported';
  return second === 'held' ? 'held' : 'taken';
}

/** Takes both locks on every descriptor it is given. */
const PERL_LOCK_ALL = `
  use Fcntl ':flock';
  my $lock = pack('s s x4 q q l x4', 1, 0, 0, 0, 0);
  for my $fd (@ARGV) {
    open(my $file, '+<&=', $fd) or exit 2;
    push(@files, $file);
    flock($file, LOCK_EX | LOCK_NB) or exit 2;
    fcntl($file, 37, $lock) or exit 2;
  }
`;
/** The same with a shell and the tool, whose own options come first. */
const TOOL_LOCK_ALL = 'options="$1"; shift; for fd do flock $options -x -n "$fd" || exit 2; done';

/** Locks many new files at once, or none. False where this system can only do it one by one. */
export async function lockHandles(handles: readonly promises.FileHandle[]): Promise<boolean> {
  if (!hasTool && !hasPerl) return false;
  const fds = handles.map((handle) => handle.fd);
  const numbers = fds.map((_, i) => String(3 + i));
  if (hasPerl && (await runTool(fds, 'perl', ['-e', PERL_LOCK_ALL, ...numbers])) === 'taken') return true;
  const withTool = (options: string) => runTool(fds, 'sh', ['-c', TOOL_LOCK_ALL, 'sh', options, ...numbers]);
  if ((await withTool('')) !== 'taken') return false;
  if (hasFcntl) await withTool('--fcntl');
  return true;
}

/** Locks by name: where each stands now, since a locked file may be renamed. */
const named = new Map<string, NamedLock>();

class NamedLock implements Lock {
  path: string;

  constructor(path: string) {
    this.path = path;
    named.set(path, this);
  }

  async release(): Promise<void> {
    named.delete(this.path);
    await promises.rm(nameOf(this.path), { force: true });
  }
}

function nameOf(path: string): string {
  return `${path}.lock`;
}

/** Lets the lock of a renamed file follow it; nothing to do for locks of the system. */
export async function followRename(from: string, to: string): Promise<void> {
  const lock = named.get(from);
  if (lock === undefined) return;
  named.delete(from);
  named.set(to, lock);
  lock.path = to;
  await promises.rename(nameOf(from), nameOf(to));
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
  const name = nameOf(path);
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await promises.writeFile(name, String(process.pid), { flag: 'wx', mode });
      return new NamedLock(path);
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    const holder = Number.parseInt(await promises.readFile(name, 'utf8').catch(() => ''), 10);
    // Left over from a process that has ended, perhaps in the middle of writing its number.
    if (Number.isInteger(holder) && isAlive(holder)) throw held(path);
    await promises.rm(name, { force: true });
  }
  throw held(path);
}

function held(path: string): Error {
  return diskError('ELOCKED', `another process holds ${path}`);
}

function descriptorLock(fd: number): Lock {
  return { release: () => new Promise((resolve, reject) => close(fd, (error) => (error ? reject(error) : resolve()))) };
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
  // Opened before this returns, so that the program runs already while the caller goes on with something else.
  const fd = openSync(path, flags, mode);
  let outcome: Outcome = 'unsupported';
  try {
    outcome = await lockDescription(fd);
  } finally {
    if (outcome !== 'taken') closeSync(fd);
  }
  if (outcome === 'taken') return descriptorLock(fd);
  if (outcome === 'held') throw held(path);
  return lockByName(path, mode);
}
