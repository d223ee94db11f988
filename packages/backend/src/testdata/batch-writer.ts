/** Writes numbered batches until it is killed, and prints the number of each that the file holds (or the disk: flush). */
import { LmdbBackend } from '../lmdb.ts';

const [, , path, mode] = process.argv;
const backend = new LmdbBackend(path as string, (error) => {
  if (mode !== 'limited') throw error;
  process.stdout.write(`failed: ${error.message}\n`);
  // What follows a refused batch must be refused too.
  backend.put('meta', Buffer.from('after'), Buffer.from('the failure'));
  backend.commit((second) => process.exit(second === null ? 1 : 0));
});
let batch = 0;
backend.beforeCommit(() => backend.put('meta', Buffer.from('consistent_index'), Buffer.from(String(batch))));

function next(): void {
  batch++;
  const number = batch;
  const value = Buffer.alloc(300, String(number).padStart(10, '0'));
  for (let i = 0; i < 400; i++) {
    backend.put('key', Buffer.from(`${String(number).padStart(8, '0')}/${i}`), value);
  }
  const written = (): void => {
    process.stdout.write(`${number}\n`);
  };
  if (mode === 'flush') {
    backend.flush().then(
      () => {
        written();
        next();
      },
      (error) => {
        throw error;
      },
    );
    return;
  }
  backend.commit((error) => {
    if (error === null) written();
    else if (mode !== 'limited') throw error;
  });
  setImmediate(next);
}
next();

if (mode === 'defragment') {
  const again = (): void => {
    backend.defragment().then(again, (error) => {
      throw error;
    });
  };
  again();
}
