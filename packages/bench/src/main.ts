/** `npm run bench -- VERB [flags]`: one workload against any etcd endpoint. */
import { dialerOf } from './dial.ts';
import { flagHelp, type LoadOptions, parseOptions } from './options.ts';
import { outcomeJson, outcomeText } from './report.ts';
import { isVerb, openChannels, runVerb, VERBS } from './run.ts';

const USAGE = `usage: npm run bench -- VERB [flags] [KEY [RANGE_END]]

verbs: ${VERBS.join(' ')}

${flagHelp()}`;

async function main(args: string[]): Promise<number> {
  const [first, ...rest] = args;
  const verb = first === 'lease-keepalive' ? 'lease' : first;
  if (!isVerb(verb)) {
    console.error(USAGE);
    return first === '--help' || first === 'help' ? 0 : 2;
  }
  let options: LoadOptions;
  try {
    options = parseOptions(rest);
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
  const channels = await openChannels(dialerOf(options), options);
  let cpu = process.cpuUsage();
  const outcome = await runVerb(verb, options, channels, () => {
    cpu = process.cpuUsage();
  });
  const spent = process.cpuUsage(cpu);
  for (const channel of channels) channel.close();
  if (options.json) console.log(JSON.stringify(outcomeJson(outcome)));
  else process.stdout.write(outcomeText(outcome, spent.user + spent.system));
  return outcome.errors > 0 ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
