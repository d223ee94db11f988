import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { assert } from '@etsd/base';
import type { Edit, Mutation } from '../mutation.ts';

const PACKAGES = new URL('../../../../', import.meta.url).href;
const QUERY = '?mutation=';

/** Mutations by the name under which their copies of the modules are loaded. */
const known = new Map<string, Mutation>();

/** The file's text with the edits made in it. Fails where the text they are meant for is not there exactly once. */
export function mutate(text: string, edits: readonly Edit[]): string {
  let mutated = text;
  for (const { file, find, replace } of edits) {
    assert(mutated.split(find).length === 2, `a mutation fits ${file} no more, or in several places: ${find}`);
    mutated = mutated.replace(find, () => replace);
  }
  return mutated;
}

/** The edits of a mutation by the file they are in, each tried on the file as it is. */
export function checkEdits(mutation: Mutation): void {
  for (const { file } of mutation.edits) {
    const edits = mutation.edits.filter((edit) => edit.file === file);
    mutate(readFileSync(new URL(file, PACKAGES), 'utf8'), edits);
  }
}

/**
 * Loads a module and everything of the product that it imports as if the bug were in it: a copy of its own of every module, so
 * that the real ones, and those of other mutations, are untouched in the same process.
 *
 * @param path the module, below `packages/`.
 */
export async function importMutated<Module>(path: string, mutation: Mutation): Promise<Module> {
  checkEdits(mutation);
  if (known.size === 0) watchImports();
  known.set(mutation.id, mutation);
  return (await import(`${PACKAGES}${path}${QUERY}${mutation.id}`)) as Module;
}

/** A module that a mutated one imports is mutated too, or at least a copy. */
function watchImports(): void {
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      const id = context.parentURL?.split(QUERY)[1];
      if (id === undefined || !found.url.startsWith(PACKAGES) || found.url.includes('?')) return found;
      return { ...found, url: `${found.url}${QUERY}${id}` };
    },
    load(url, context, next) {
      const loaded = next(url, context);
      const [file, id] = url.split(QUERY);
      const mutation = id === undefined ? undefined : known.get(id);
      if (file === undefined || mutation === undefined) return loaded;
      const edits = mutation.edits.filter((edit) => PACKAGES + edit.file === file);
      return edits.length === 0 ? loaded : { ...loaded, source: mutate(String(loaded.source), edits) };
    },
  });
}
