/**
 * Serves the repository to a browser: a page, and the sources as plain ES modules with their types taken out, each package
 * by its name. What a package imports and a browser has not is an error of the page that loads it.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { ROOT } from './binaries.ts';

const IMPORTS = {
  '@etsd/base': '/packages/base/src/index.ts',
  '@etsd/proto': '/packages/proto/src/index.ts',
  '@etsd/client/fetch': '/packages/client/src/fetch.ts',
};

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>a page</title>
<link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
`;

export class WebModules implements AsyncDisposable {
  /** Of the page, without a slash at its end. */
  readonly origin: string;
  private readonly server: Server;

  static async start(): Promise<WebModules> {
    const server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url ?? '/', 'http://page').pathname);
      if (path === '/') return void response.setHeader('content-type', 'text/html').end(PAGE);
      try {
        if (!/^\/(?:packages|tests)\/.*\.ts$/.test(path)) throw new Error('not a module');
        const source = stripTypeScriptTypes(await readFile(join(ROOT, path), 'utf8'));
        response.setHeader('content-type', 'text/javascript').end(source);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new WebModules(server);
  }

  private constructor(server: Server) {
    this.server = server;
    this.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
