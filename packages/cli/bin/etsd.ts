#!/usr/bin/env node
/** Starts etsd. Looks at the runtime before anything that an older one could not load. */
const WANTED = [24, 12] as const;
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < WANTED[0] || (major === WANTED[0] && minor < WANTED[1])) {
  process.stderr.write(`etsd needs Node.js ${WANTED.join('.')} or later; this is ${process.versions.node}.\n`);
  process.exitCode = 1;
} else {
  const launch = await import('../src/launch.ts');
  launch.adoptRuntimeFlags();
  launch.useCompileCache();
  const { main } = await import('../src/etsd/main.ts');
  launch.saveCompileCache();
  await main(process.argv.slice(2));
}

export {};
