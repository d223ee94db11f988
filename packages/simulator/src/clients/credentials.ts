/** The one user that all clients of a run log in as while authentication is on. */
export interface Credentials {
  readonly name: string;
  /** Those that may be right: a change of password that got no answer may have happened. */
  readonly passwords: readonly string[];
}
