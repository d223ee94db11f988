#!/usr/bin/env node
/** Starts etsdutl. Looks at the runtime before anything that an older one could not load. */
const WANTED = [24, 12] as const;
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < WANTED[0] || (major === WANTED[0] && minor < WANTED[1])) {
  process.stderr.write(`etsdutl needs Node.js ${WANTED.join('.')} or later; this is ${process.versions.node}.\n`);
  process.exitCode = 1;
} else {
  const launch = await import('../src/launch.ts');
  launch.useCompileCache();
  const { main } = await import('../src/ctl/main.ts');
  const { ETSDUTL } = await import('../src/utl/program.ts');
  launch.saveCompileCache();
  await main(ETSDUTL, process.argv.slice(2));
}

export {};
