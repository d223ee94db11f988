/** What was counted of a name. */
export class Sum {
  reads = 0;
  writes = 0;
  bytes = 0;
}

/**
 * The busiest names among any number of them, in the memory of `capacity` ("space saving", Metwally, Agrawal and El Abbadi
 * 2005): a name without a place takes that of the one counted least, and its rank too, so that what is busy is never
 * missed. What is told of a name is only what was counted of itself since it has its place.
 */
export class TopCounts {
  readonly capacity: number;
  private readonly names: string[] = [];
  private readonly totals: Float64Array;
  private readonly reads: Float64Array;
  private readonly writes: Float64Array;
  private readonly bytes: Float64Array;
  private readonly places = new Map<string, number>();

  constructor(capacity: number) {
    this.capacity = capacity;
    this.totals = new Float64Array(capacity);
    this.reads = new Float64Array(capacity);
    this.writes = new Float64Array(capacity);
    this.bytes = new Float64Array(capacity);
  }

  /** Counts `weight` requests of `bytes` each. */
  add(name: string, isWrite: boolean, bytes: number, weight: number): void {
    const place = this.places.get(name) ?? this.placeFor(name);
    this.totals[place] = (this.totals[place] as number) + weight;
    this.bytes[place] = (this.bytes[place] as number) + bytes * weight;
    const counts = isWrite ? this.writes : this.reads;
    counts[place] = (counts[place] as number) + weight;
  }

  clear(): void {
    this.names.length = 0;
    this.places.clear();
    for (const column of [this.totals, this.reads, this.writes, this.bytes]) column.fill(0);
  }

  /** Adds what was counted here to `sums`. */
  addTo(sums: Map<string, Sum>): void {
    for (const [place, name] of this.names.entries()) {
      let sum = sums.get(name);
      if (sum === undefined) {
        sum = new Sum();
        sums.set(name, sum);
      }
      sum.reads += this.reads[place] as number;
      sum.writes += this.writes[place] as number;
      sum.bytes += this.bytes[place] as number;
    }
  }

  private placeFor(name: string): number {
    let place = this.names.length;
    if (place < this.capacity) this.names.push(name);
    else {
      place = this.least();
      this.places.delete(this.names[place] as string);
      this.names[place] = name;
      this.reads[place] = this.writes[place] = this.bytes[place] = 0;
    }
    this.places.set(name, place);
    return place;
  }

  private least(): number {
    const { totals } = this;
    let least = 0;
    for (let place = 1; place < totals.length; place++) {
      if ((totals[place] as number) < (totals[least] as number)) least = place;
    }
    return least;
  }
}
