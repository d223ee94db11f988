import type { LoadChannel } from './channel.ts';

/** One unary call with a promise, for preparations. Rejects with the status text. */
export function callOnce(channel: LoadChannel, path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let answer: Buffer | null = null;
    const call = channel.start(path, {
      message(_call, bytes, start, end) {
        answer = Buffer.from(bytes.subarray(start, end));
      },
      closed(_call, code, message) {
        if (code === 0 && answer !== null) resolve(answer);
        else reject(new Error(`${path}: ${message} (code ${code})`));
      },
    });
    call.sendLast(request);
  });
}
