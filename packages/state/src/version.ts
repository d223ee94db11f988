import { goString, parseJsonObject } from './go-json.ts';
import type { BackendPort } from './ports.ts';

const CLUSTER = 'cluster';
const VERSION_KEY = Buffer.from('clusterVersion');
const DOWNGRADE_KEY = Buffer.from('downgrade');

/** The version all members can speak, and whether the cluster is on its way to an older one. */
export class ClusterVersion {
  /** `major.minor.patch`, or empty until it is decided. */
  version = '';
  downgradeEnabled = false;
  downgradeTarget = '';
  /** Called when the log has set `version`, also to what it was (`previous`, empty at first). */
  onChange: ((version: string, previous: string) => void) | null = null;
  /** The same, before anybody else hears of it. */
  onStored: (() => void) | null = null;
  /** Called when the log has begun a downgrade or ended it. */
  onDowngrade: (() => void) | null = null;
  private readonly backend: BackendPort;

  constructor(backend: BackendPort) {
    this.backend = backend;
    this.read();
  }

  /** Reads what the backend says now. */
  reload(): void {
    const { version, downgradeEnabled } = this;
    this.read();
    if (this.version !== version) this.onChange?.(this.version, version);
    if (this.downgradeEnabled !== downgradeEnabled) this.onDowngrade?.();
  }

  private read(): void {
    const { backend } = this;
    this.version = backend.get(CLUSTER, VERSION_KEY)?.toString('utf8') ?? '';
    const downgrade = parseJsonObject(backend.get(CLUSTER, DOWNGRADE_KEY)?.toString('utf8') ?? '');
    const target = downgrade?.['target-version'];
    this.downgradeEnabled = downgrade?.['enabled'] === true;
    this.downgradeTarget = typeof target === 'string' ? target : '';
  }

  set(version: string): void {
    const previous = this.version;
    this.version = version;
    this.backend.put(CLUSTER, VERSION_KEY, Buffer.from(version));
    this.onStored?.();
    this.onChange?.(version, previous);
  }

  setDowngrade(enabled: boolean, target: string): void {
    this.downgradeEnabled = enabled;
    this.downgradeTarget = enabled ? target : '';
    const text = `{"target-version":${goString(this.downgradeTarget)},"enabled":${enabled}}`;
    this.backend.put(CLUSTER, DOWNGRADE_KEY, Buffer.from(text));
    this.onDowngrade?.();
  }
}

/** `major.minor.patch` with its three numbers, where the text is one (a patch is not required). */
export interface ParsedVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** Undefined where the text is no version. Suffixes such as `-alpha.0` are accepted and ignored. */
export function parseVersion(text: string): ParsedVersion | undefined {
  const match = /^(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?(?:[-+][0-9A-Za-z.+-]*)?$/.exec(text);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) };
}
