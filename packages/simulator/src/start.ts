/**
 * `npm run simulate`: starts `main.ts` with what V8 needs to be told, once, or with `--jobs N` so many times side by side,
 * each with its share of the runs. All other options are those of `main.ts`.
 */
import { endOf, startShare } from './shares.ts';

function argumentsAndJobs(): { readonly args: readonly string[]; readonly jobs: number } {
  const args = process.argv.slice(2);
  const at = args.indexOf('--jobs');
  const jobs = at < 0 ? 1 : Number(args.splice(at, 2)[1]);
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error('--jobs wants a number of processes');
  // Shares of fresh seeds: all have to count from the same one.
  const isFresh = !['--seed', '--seeds', '--replay', '--regressions'].some((name) => args.includes(name));
  if (jobs > 1 && isFresh) args.push('--seed', String(Math.floor(Math.random() * 2 ** 31)));
  return { args, jobs };
}

const { args, jobs } = argumentsAndJobs();
const children = Array.from({ length: jobs }, (_unused, share) => startShare(share, jobs, args, false));
const codes = await Promise.all(children.map(endOf));
process.exitCode = Math.max(...codes);
