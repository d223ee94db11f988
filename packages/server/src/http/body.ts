import type { IncomingMessage, ServerResponse } from 'node:http';

/** Gathers a short body; a longer one is refused. */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limit: number,
  done: (body: Buffer) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) {
      response.writeHead(413).end();
      request.destroy();
    } else {
      chunks.push(chunk);
    }
  });
  request.on('end', () => done(Buffer.concat(chunks)));
}
