/** What stands for one client: an address of IPv4, of IPv6 the network of 64 bits it can choose from. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1] as string;
  const [head = '', tail = ''] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const behind = tail === '' ? [] : tail.split(':');
  const zeros = new Array<string>(Math.max(0, 8 - before.length - behind.length)).fill('0');
  return `${[...before, ...zeros, ...behind].slice(0, 4).join(':')}::/64`;
}
