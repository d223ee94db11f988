const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const FORMAT = /^([0-9]{1,8})([HMSmun])$/;

/** `grpc-timeout` in milliseconds, −1 where it is not one (at most eight digits and a unit). */
export function parseTimeout(text: string): number {
  const match = FORMAT.exec(text);
  if (match === null) return -1;
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** Of a unit: what a difference of two moments is off by must not be rounded up to another number. */
const ROUNDING = 1e-6;

/** A duration as `grpc-timeout`: rounded up, in the finest unit whose number has eight digits at most. */
export function formatTimeout(ms: number): string {
  if (ms <= 0) return '0n';
  for (const unit of ['n', 'u', 'm', 'S', 'M']) {
    const count = Math.ceil(ms / (UNIT_MS[unit] as number) - ROUNDING);
    if (count < 1e8) return `${count}${unit}`;
  }
  return `${Math.min(Math.ceil(ms / 3_600_000), 99_999_999)}H`;
}
