import type { Network } from '../network.ts';

export function nodeNetwork(): Network {
  return { close: () => Promise.resolve() };
}
