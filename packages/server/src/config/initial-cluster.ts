import { OperatorError } from '@etsd/base';
import { parseEndpoint } from './values.ts';

/** `name=url,name=url2`; a name may come several times, once per URL. */
export function parseInitialCluster(text: string): Map<string, string[]> {
  const members = new Map<string, string[]>();
  if (text === '') return members;
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    if (at <= 0) throw new OperatorError(`--initial-cluster has "${part}", which is not of the form name=url`);
    const name = part.slice(0, at).trim();
    const url = parseEndpoint(part.slice(at + 1).trim()).url;
    const urls = members.get(name) ?? [];
    urls.push(url);
    members.set(name, urls);
  }
  return members;
}

/** As etcd shows it: `name=url` pairs in order. */
export function formatInitialCluster(members: ReadonlyMap<string, readonly string[]>): string {
  return [...members]
    .flatMap(([name, urls]) => urls.map((url) => `${name}=${url}`))
    .sort()
    .join(',');
}
