/**
 * `npm run pack`: makes the one package that people install, `dist/etsd-VERSION.tgz`: the three programs, every package of
 * this repository beside them, man pages and completions. What comes from elsewhere is named as a dependency. Needs
 * `npm run build` before it.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { completionFiles, manPages } from './manual.ts';

const ROOT = join(import.meta.dirname, '..');
const { values } = parseArgs({ options: { out: { type: 'string', default: 'dist' } } });
const OUT = resolve(ROOT, values.out);
/** Folders of compiled packages that a program never loads. */
const LEFT_OUT = ['@etsd/bench', '@etsd/simulator', '@etsd/testkit'];

interface Manifest {
  name: string;
  version: string;
  bin?: Record<string, string>;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  [key: string]: unknown;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

const isOurs = (name: string): boolean => name.startsWith('@etsd/');

/** Packages of ours that `name` needs, itself included. */
function closure(name: string, manifests: ReadonlyMap<string, Manifest>, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  for (const each of Object.keys(manifests.get(name)?.dependencies ?? {})) {
    if (isOurs(each)) closure(each, manifests, found);
  }
  return found;
}

/** Lays the package out under `target`; answers what `npm pack` is to be given. */
function assemble(target: string): void {
  rmSync(target, { recursive: true, force: true });
  const built = join(OUT, 'packages');
  if (!existsSync(built)) throw new Error(`nothing built in ${built}: npm run build`);
  const folders = new Map<string, string>();
  const manifests = new Map<string, Manifest>();
  for (const each of readdirSync(built)) {
    const manifest = manifestOf(join(built, each));
    folders.set(manifest.name, join(built, each));
    manifests.set(manifest.name, manifest);
  }
  const needed = [...closure('etsd', manifests)].filter((name) => !LEFT_OUT.includes(name));
  const foreign: Record<string, string> = {};
  const optional: Record<string, string> = {};
  for (const name of needed) {
    const { dependencies = {}, optionalDependencies = {} } = manifests.get(name) as Manifest;
    for (const [each, version] of Object.entries(dependencies)) if (!isOurs(each)) foreign[each] = version;
    Object.assign(optional, optionalDependencies);
    const folder = name === 'etsd' ? target : join(target, 'node_modules', name);
    cpSync(folders.get(name) as string, folder, { recursive: true, filter: (path) => !path.endsWith('.d.ts') });
    if (name === 'etsd') continue;
    // What is carried along asks for nothing itself: one list says what is to be fetched.
    const { dependencies: _, optionalDependencies: __, ...own } = manifests.get(name) as Manifest;
    write(join(folder, 'package.json'), `${JSON.stringify(own, null, 2)}\n`);
  }
  const pages = manPages();
  for (const [name, text] of pages) write(join(target, 'man', name), text);
  for (const [path, text] of completionFiles()) write(join(target, 'completions', path), text);
  cpSync(join(ROOT, 'README.md'), join(target, 'README.md'));
  const own = manifests.get('etsd') as Manifest;
  for (const path of Object.values(own.bin ?? {})) chmodSync(join(target, path), 0o755);
  const ours = needed.filter((name) => name !== 'etsd');
  const bundled = Object.fromEntries(ours.map((name) => [name, (manifests.get(name) as Manifest).version]));
  write(
    join(target, 'package.json'),
    `${JSON.stringify(
      {
        ...own,
        man: [...pages.keys()].map((name) => `./man/${name}`),
        dependencies: { ...bundled, ...foreign },
        optionalDependencies: optional,
        bundleDependencies: ours,
      },
      null,
      2,
    )}\n`,
  );
}

const folder = join(OUT, 'npm');
assemble(folder);
const packed = spawnSync('npm', ['pack', '--silent', '--pack-destination', OUT], { cwd: folder, encoding: 'utf8' });
if (packed.status !== 0) throw new Error(`npm pack failed: ${packed.stderr}`, { cause: packed.error });
console.log(join(OUT, packed.stdout.trim()));
