/** Where a key and its value lie, in one buffer or in two: what who moves many records hands on instead of views of each. */
export interface RecordPlace {
  readonly bytes: Buffer;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly value: Buffer;
  readonly valueStart: number;
  readonly valueEnd: number;
}
