/** The house rules as a test: what a reviewer would otherwise have to say again and again. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { checkBans } from './bans.ts';
import { checkPage } from './docs.ts';
import { ROOMS } from './floors.ts';
import { checkImports, findCycles, importsOf } from './imports.ts';
import { checkSizes } from './sizes.ts';
import { codeOnly, ROOT, type Source, sourcesUnder } from './sources.ts';

const sources = sourcesUnder('packages', '.ts');
const written = sources.filter((source) => !source.path.includes('/gen/'));

function declaredBy(name: string): Set<string> {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'packages', name, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
    optionalDependencies?: Record<string, string>;
    peerDependencies?: Record<string, string>;
  };
  return new Set(
    Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.peerDependencies }),
  );
}

function nothing(problems: readonly string[]): void {
  assert.equal(problems.length, 0, `\n${problems.join('\n')}`);
}

describe('tidy', () => {
  it('packages import only lower floors, by name, and declare what they import', () => {
    const declared = new Map(Object.keys(ROOMS).map((name) => [name, declaredBy(name)]));
    nothing(
      sources.flatMap((source) => checkImports(source, declared.get(source.path.split('/')[1] as string) ?? new Set())),
    );
  });

  it('no file imports itself through others', () => nothing(findCycles(sources)));

  it('nothing banned is used', () => nothing(written.flatMap(checkBans)));

  it('files stay readable in size', () => nothing(written.flatMap(checkSizes)));

  it('pages have one title and links that lead somewhere', () => {
    nothing([...sourcesUnder('.', '.md')].flatMap(checkPage));
  });
});

describe('tidy itself', () => {
  const at = (path: string, text: string): Source => ({ path, text });

  it('sees an import that goes up, one that leaves the package and one of Node', () => {
    const declared = new Set(['@etsd/server', '@etsd/base']);
    const up = at(
      'packages/raft/src/a.ts',
      "import { x } from '@etsd/server';\nimport { y } from '../../base/src/z.ts';\nimport fs from 'node:fs';\n",
    );
    assert.equal(checkImports(up, declared).length, 3);
    assert.deepEqual(checkImports(at('packages/raft/src/a.ts', "import { x } from '@etsd/base';\n"), declared), []);
  });

  it('sees several-line imports and dynamic ones', () => {
    const source = at(
      'packages/cli/src/a.ts',
      "import {\n  a,\n  b,\n} from './b.ts';\nexport type { C } from './c.ts';\nawait import('./d.ts');\n",
    );
    assert.deepEqual(
      importsOf(source).map((entry) => entry.specifier),
      ['./b.ts', './c.ts', './d.ts'],
    );
  });

  it('sees a circle', () => {
    const circle = [
      at('packages/raft/src/a.ts', "import { b } from './b.ts';"),
      at('packages/raft/src/b.ts', "import { a } from './a.ts';"),
    ];
    assert.equal(findCycles(circle).length, 1);
  });

  it('judges code, not comments or strings', () => {
    assert.deepEqual(checkBans(at('packages/raft/src/a.ts', "// Date.now\nconst s = 'Math.random';\n")), []);
    assert.equal(checkBans(at('packages/raft/src/a.ts', 'const s = Date.now();\n')).length, 1);
    assert.equal(codeOnly("a('b') // c").trimEnd(), 'a(   )');
  });

  it('sees a dead link and a missing title', () => {
    assert.equal(checkPage(at('docs/a.md', '[x](nowhere.md)')).length, 2);
  });
});
