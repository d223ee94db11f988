/** Work that would hold the event loop, done elsewhere. */
export interface Workers {
  /**
   * Calls the exported function `exportName` of the module at `moduleUrl` with `args` in another thread and gives its
   * result, or fails with its error. Arguments and result are cloned, but for the buffers in `transfer`, which change
   * owner. The function must be pure: it has no `World`, and in a simulation it runs here.
   */
  run(
    moduleUrl: string,
    exportName: string,
    args: readonly unknown[],
    transfer?: readonly ArrayBuffer[],
  ): Promise<unknown>;
  /** Ends the threads. What is under way fails. */
  close(): Promise<void>;
}
