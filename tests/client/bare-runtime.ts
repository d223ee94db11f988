/**
 * Runs `bare-scenario.ts` as a browser would: in a realm that has what the web has and nothing of Node.js, neither globals
 * nor modules. `node --experimental-vm-modules tests/client/bare-runtime.ts HOST:PORT`
 */
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { createContext, type Module, SourceTextModule } from 'node:vm';
import { ROOT } from '../support/binaries.ts';

/** What every browser and edge runtime has, as far as the client needs it. */
const context = createContext({
  ...{ AbortController, AbortSignal, TextDecoder, TextEncoder, URL, atob, btoa, crypto, fetch, performance },
  ...{ clearInterval, clearTimeout, queueMicrotask, setInterval, setTimeout },
});

const ENTRIES: Readonly<Record<string, string>> = {
  '@etsd/base': 'packages/base/src/index.ts',
  '@etsd/proto': 'packages/proto/src/index.ts',
  '@etsd/client/fetch': 'packages/client/src/fetch.ts',
};

const modules = new Map<string, SourceTextModule>();

function load(path: string): SourceTextModule {
  let module = modules.get(path);
  if (module === undefined) {
    const source = stripTypeScriptTypes(readFileSync(path, 'utf8'));
    module = new SourceTextModule(source, { context, identifier: path });
    modules.set(path, module);
  }
  return module;
}

function link(specifier: string, from: Module): SourceTextModule {
  if (specifier.startsWith('.')) return load(join(dirname(from.identifier), specifier));
  const entry = ENTRIES[specifier];
  if (entry === undefined) {
    throw new Error(`${relative(ROOT, from.identifier)} imports ${specifier}, which a browser has not`);
  }
  return load(join(ROOT, entry));
}

const scenario = load(join(import.meta.dirname, 'bare-scenario.ts'));
await scenario.link(link);
await scenario.evaluate();
const { run } = scenario.namespace as { run(address: string): Promise<string> };
console.log(await run(process.argv[2] ?? ''));
