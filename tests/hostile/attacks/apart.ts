/**
 * Attackers and other clients sit at machines of their own: what they take to attack, and to measure, is not what is to be
 * measured. Here the attacker gets one processor, on which he runs when nobody else wants to, so that he takes from nobody
 * but by what the kernel does for him; the clients are beside him, or have one too, before an attack and meanwhile. The
 * member has the others, and where there are only two, both: its threads for the disk go where the event loop is not.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

export interface Places {
  /** Moves this process, and what it starts from now on, to where the member is, or to where its clients are. */
  toMember(): void;
  toClients(): void;
  /** The command that runs another at the attacker's. */
  readonly attacker: readonly string[];
}

/**
 * Undefined where there is only one processor, or no command that moves processes. `eager`: the attacker runs whenever he
 * likes, at the cost of whoever else wants his processor.
 */
export function standApart(eager = false): Places | undefined {
  const order = byDiskWork(cpus().length);
  if (order.length < 2) return undefined;
  const [his, second] = order as [number, number];
  const clients = order.length > 2 ? second : his;
  const member = order.length > 2 ? order.slice(2) : order;
  const move = (to: readonly number[]): boolean =>
    spawnSync('taskset', ['-a', '-c', '-p', to.join(','), String(process.pid)]).status === 0;
  if (!move([clients])) return undefined;
  return {
    toMember: () => move(member),
    toClients: () => move([clients]),
    attacker: ['taskset', '-c', String(his), ...(eager ? [] : ['chrt', '--idle', '0'])],
  };
}

/**
 * Processors, first those that do least for the disks. One that serves their interrupts does it behind the network's, of
 * which an attacker on the same machine causes as many as he can: every sync would wait for him, whoever he attacked.
 */
function byDiskWork(processors: number): number[] {
  const line = /^\s*BLOCK:(.*)$/m.exec(readFileSync('/proc/softirqs', 'utf8'))?.[1] ?? '';
  const served = line.trim().split(/\s+/).map(Number);
  const all = Array.from({ length: processors }, (_, index) => index);
  return all.sort((left, right) => (served[left] ?? 0) - (served[right] ?? 0));
}
