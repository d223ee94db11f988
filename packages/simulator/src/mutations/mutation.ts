/** One change of the product's text. */
export interface Edit {
  /** Below `packages/`. */
  readonly file: string;
  /** Must occur in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

/**
 * A known bug, as a change of our own code that brings its like about. The product has no switch for it: the changed text
 * exists only in a copy of the modules that `importMutated` loads beside the real ones.
 */
export interface Mutation {
  /** The number of etcd's issue, with a letter where one issue has two bugs. */
  readonly id: string;
  readonly title: string;
  /** What went wrong in etcd. */
  readonly there: string;
  /** What the change does here. */
  readonly here: string;
  readonly edits: readonly Edit[];
}
