/** What a store counts since it was opened. Each is a slot that the way of a request adds one to. */
export class StoreFigures {
  /** Puts and deletions, whether alone or in a transaction; a deletion counts once, however many keys it finds. */
  puts = 0;
  deletes = 0;
  /** Readings of a range or a key, those that a comparison or another operation needs included. */
  ranges = 0;
  /** Transactions that did more than one of these. */
  transactions = 0;
  /** Bytes of the keys and values that were put. */
  putBytes = 0;
  /** Records that compactions removed. */
  compactedRecords = 0;

  get operations(): number {
    return this.puts + this.deletes + this.ranges;
  }
}
