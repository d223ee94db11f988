/** How long the event loop was held since it was last asked, in seconds. Reading begins a new period. */
export interface LoopDelay {
  read(): { readonly median: number; readonly p99: number; readonly max: number };
}
