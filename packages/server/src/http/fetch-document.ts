import * as http from 'node:http';
import * as https from 'node:https';

export interface FetchOptions {
  readonly bytesMax: number;
  /** Authorities of the server's certificate; null: the system's. */
  readonly ca: Buffer | null;
  readonly timeoutMs: number;
}

/** A short document at an address. Follows nowhere else, and takes nothing but an answer 200 in time and of bounded size. */
export function fetchDocument(url: string, { bytesMax, ca, timeoutMs }: FetchOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const client = url.startsWith('https:') ? https : http;
    const options = { headers: { accept: 'application/json' }, agent: false, ...(ca === null ? {} : { ca }) };
    const request = client.get(url, options, (response) => {
      if (response.statusCode !== 200) {
        request.destroy(new Error(`${url} answered ${response.statusCode}`));
        return;
      }
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > bytesMax) request.destroy(new Error(`${url}: more than ${bytesMax} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', reject);
    });
    // For all of it, the body included: a server that dribbles is as bad as one that is silent.
    const timer = setTimeout(() => request.destroy(new Error(`${url}: no answer in ${timeoutMs} ms`)), timeoutMs);
    timer.unref();
    request.on('close', () => clearTimeout(timer));
    request.on('error', reject);
  });
}
