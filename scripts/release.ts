/**
 * `npm run build`: compiles every package to JavaScript under `dist/packages`, each with a manifest whose entry points
 * name the compiled files, ready for `npm pack`. Node does not strip types below `node_modules`, so what is published
 * must be JavaScript. Ends by running the built program once, with this Node.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const ROOT = join(import.meta.dirname, '..');
const { values } = parseArgs({ options: { out: { type: 'string', default: 'dist' } } });
const OUT = resolve(ROOT, values.out);

interface Manifest {
  name: string;
  exports?: Record<string, string>;
  bin?: Record<string, string>;
  engines?: Record<string, string>;
  [key: string]: unknown;
}

function run(program: string, ...args: string[]): void {
  const { status, error } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`, { cause: error });
}

const compiledName = (path: string): string => path.replace(/\.ts$/, '.js');

function compile(): void {
  rmSync(OUT, { recursive: true, force: true });
  mkdirSync(OUT, { recursive: true });
  const config = join(OUT, 'tsconfig.json');
  const base = JSON.parse(readFileSync(join(ROOT, 'tsconfig.json'), 'utf8')) as { compilerOptions: object };
  writeFileSync(
    config,
    JSON.stringify({
      compilerOptions: {
        ...base.compilerOptions,
        noEmit: false,
        allowImportingTsExtensions: false,
        rewriteRelativeImportExtensions: true,
        declaration: true,
        rootDir: join(ROOT, 'packages'),
        outDir: join(OUT, 'packages'),
        typeRoots: [join(ROOT, 'node_modules/@types')],
      },
      include: [join(ROOT, 'packages/*/src/**/*.ts'), join(ROOT, 'packages/*/bin/*.ts')],
      exclude: ['test', 'bench', 'fuzz', 'fixture'].map((kind) => join(ROOT, `packages/**/*.${kind}.ts`)),
    }),
  );
  run(join(ROOT, 'node_modules/.bin/tsc'), '-p', config);
  rmSync(config);
}

function writeManifests(): Manifest[] {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  const manifests: Manifest[] = [];
  for (const name of readdirSync(join(ROOT, 'packages'))) {
    const source = join(ROOT, 'packages', name);
    const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as Manifest;
    if (engines !== undefined) manifest.engines = engines;
    const target = join(OUT, 'packages', name);
    mkdirSync(target, { recursive: true });
    for (const field of ['exports', 'bin'] as const) {
      const entries = manifest[field];
      if (entries !== undefined) {
        manifest[field] = Object.fromEntries(Object.entries(entries).map(([key, path]) => [key, compiledName(path)]));
      }
    }
    writeFileSync(join(target, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    cpSync(join(ROOT, 'LICENSE'), join(target, 'LICENSE'));
    if (existsSync(join(source, 'README.md'))) cpSync(join(source, 'README.md'), join(target, 'README.md'));
    for (const path of Object.values(manifest.bin ?? {})) chmodSync(join(target, path), 0o755);
    manifests.push(manifest);
  }
  return manifests;
}

/** Lets the built packages find each other in place, as an installation would lay them out. */
function linkPackages(): void {
  for (const name of readdirSync(join(OUT, 'packages'))) {
    const manifest = JSON.parse(readFileSync(join(OUT, 'packages', name, 'package.json'), 'utf8')) as Manifest;
    const link = join(OUT, 'node_modules', manifest.name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(OUT, 'packages', name), link);
  }
}

compile();
const manifests = writeManifests();
linkPackages();
run(process.execPath, join(OUT, 'packages/cli/bin/etsd.js'), '--version');
console.log(`${manifests.length} packages built`);
