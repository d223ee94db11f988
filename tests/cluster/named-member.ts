/** A member of etsd that asks the name server in TEST_NAME_SERVER for services: otherwise the program as it is. */
import { NodeNames, nodeWorld } from '@etsd/runtime/node';
import { main } from '../../packages/cli/src/etsd/main.ts';

await main(process.argv.slice(2), {
  ...nodeWorld(),
  names: new NodeNames([process.env['TEST_NAME_SERVER'] as string]),
});
