import type { HandshakeCounts, HandshakeRefusal, TlsAgreement } from '@etsd/runtime';
import type { MetricRegistry } from '../metrics.ts';
import type { Expiry } from './credentials.ts';

const DAY_MS = 86_400_000;

/** What one side counts. */
export class TlsFigures {
  readonly side: 'client' | 'peer';
  /** By what was agreed on, as labels. */
  readonly agreed = new Map<string, number>();
  readonly refused = new Map<HandshakeRefusal, number>();
  readonly reloads = { taken: 0, refused: 0 };
  expiries: readonly Expiry[] = [];
  /** Of each listener. */
  readonly counts: HandshakeCounts[] = [];

  constructor(side: 'client' | 'peer') {
    this.side = side;
  }

  countAgreed({ version, group, isResumed }: TlsAgreement): void {
    const labels = `side="${this.side}",version="${version}",group="${group}",resumed="${isResumed}"`;
    this.agreed.set(labels, (this.agreed.get(labels) ?? 0) + 1);
  }

  countRefused(refusal: HandshakeRefusal): void {
    this.refused.set(refusal, (this.refused.get(refusal) ?? 0) + 1);
  }
}

/** Declares the figures of both sides. */
export function attachTlsMetrics(registry: MetricRegistry, sides: readonly TlsFigures[], wallMs: () => number): void {
  if (sides.length === 0) return;
  const each = (read: (side: TlsFigures) => Iterable<readonly [string, number]>) => (): Map<string, number> =>
    new Map(sides.flatMap((side) => [...read(side)]));
  registry.labelled(
    'counter',
    'etsd_tls_handshakes_total',
    'TLS handshakes done, by version, group of the key exchange, and whether an earlier session went on.',
    each((side) => side.agreed),
  );
  registry.labelled(
    'counter',
    'etsd_tls_handshakes_refused_total',
    'TLS connections that did not get through, by reason.',
    each(({ side, refused }) =>
      [...refused].map(([reason, count]) => [`side="${side}",reason="${reason}"`, count] as const),
    ),
  );
  registry.labelled(
    'gauge',
    'etsd_tls_handshakes_pending',
    'TLS connections whose handshake is not done, waiting or under way.',
    each(({ side, counts }) => {
      const underWay = counts.reduce((sum, count) => sum + count.underWay, 0);
      const pending = counts.reduce((sum, count) => sum + count.pending, 0);
      return [
        [`side="${side}",state="waiting"`, pending - underWay],
        [`side="${side}",state="under-way"`, underWay],
      ];
    }),
  );
  registry.labelled(
    'gauge',
    'etsd_tls_days_to_expiry',
    'Days until a certificate, the last authority of a bundle, or a list of revocations ends; below 0 it has.',
    each(({ side, expiries }) =>
      expiries
        .filter(({ atMs }) => Number.isFinite(atMs))
        .map(({ file, kind, atMs }) => [
          `side="${side}",kind="${kind}",file=${JSON.stringify(file.path)}`,
          (atMs - wallMs()) / DAY_MS,
        ]),
    ),
  );
  registry.labelled(
    'counter',
    'etsd_tls_reloads_total',
    'Times that changed files were taken, or found unusable and left.',
    each(({ side, reloads }) => [
      [`side="${side}",outcome="taken"`, reloads.taken],
      [`side="${side}",outcome="refused"`, reloads.refused],
    ]),
  );
}
