import { EMPTY } from '@etsd/base';
import type { ConfState } from '@etsd/proto';
import { confStateFromJson, confStateToJson } from './conf-state.ts';
import type { BackendPort } from './ports.ts';

const META = 'meta';
const INDEX_KEY = Buffer.from('consistent_index');
const TERM_KEY = Buffer.from('term');
const CONF_STATE_KEY = Buffer.from('confState');
const TWO_32 = 0x1_0000_0000;

/**
 * How far the log is applied. It is written by the backend's hook right before a commit, so that it always stands in the
 * same batch as the effects of the entry it names: after a crash either both are there or neither.
 *
 * Invariant: `index` in the backend never names an entry whose effects are not in the backend.
 */
export class ConsistentIndex {
  /** Index of the last applied entry; entries up to it must not be applied again. */
  index = 0;
  /** Term of that entry. */
  term = 0;
  /** The voters and learners after the last applied membership change; null where the log is younger than that. */
  confState: ConfState | null = null;
  private dirty = false;
  private confStateDirty = false;
  /** Another state is being put in place of this one: what is said of this one must not get into that. */
  private isHeld = false;
  private readonly backend: BackendPort;

  constructor(backend: BackendPort) {
    this.backend = backend;
    this.reload();
    backend.beforeCommit(() => this.save());
  }

  /** Reads what the backend says now. */
  reload(): void {
    const { backend } = this;
    this.index = readUint64(backend.get(META, INDEX_KEY) ?? EMPTY);
    this.term = readUint64(backend.get(META, TERM_KEY) ?? EMPTY);
    const conf = backend.get(META, CONF_STATE_KEY);
    this.confState = conf === null ? null : confStateFromJson(conf.toString('utf8'));
    this.dirty = false;
    this.confStateDirty = false;
    this.isHeld = false;
  }

  /** Nothing is written any more until `reload`. What is to be said of the present state must have been committed. */
  hold(): void {
    this.isHeld = true;
  }

  /** Notes that the entry is applied now. Its effects must reach the backend before the next commit. */
  advance(index: number, term: number): void {
    this.index = index;
    this.term = term;
    this.dirty = true;
  }

  /** Notes who votes from now on. */
  setConfState(confState: ConfState): void {
    this.confState = confState;
    this.confStateDirty = true;
  }

  /** Puts into the open batch what it does not say yet, as each commit of a batch does that has other writes. */
  save(): void {
    if (this.isHeld) return;
    if (this.dirty) {
      this.dirty = false;
      this.backend.put(META, INDEX_KEY, uint64Bytes(this.index));
      if (this.term > 0) this.backend.put(META, TERM_KEY, uint64Bytes(this.term));
    }
    if (this.confStateDirty && this.confState !== null) {
      this.confStateDirty = false;
      this.backend.put(META, CONF_STATE_KEY, Buffer.from(confStateToJson(this.confState)));
    }
  }
}

function readUint64(bytes: Buffer): number {
  if (bytes.length !== 8) return 0;
  return bytes.readUInt32BE(0) * TWO_32 + bytes.readUInt32BE(4);
}

function uint64Bytes(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeUInt32BE(Math.floor(value / TWO_32), 0);
  bytes.writeUInt32BE(value % TWO_32, 4);
  return bytes;
}
