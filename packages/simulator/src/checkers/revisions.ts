import { describeOperation, type KvOperation, type Violation } from './history.ts';

/**
 * What a member says never goes back: of two answers of one process, the one that was asked for after the other had come
 * has no smaller revision and no smaller term. Over all members the same holds for linearizable answers, which
 * `checkStoreOrder` sees to.
 */
export function checkRevisions(operations: readonly KvOperation[]): Violation[] {
  const violations: Violation[] = [];
  const processes = new Map<string, KvOperation[]>();
  for (const operation of operations) {
    if (operation.outcome !== 'ok') continue;
    const name = `${operation.member}#${operation.run}`;
    const list = processes.get(name);
    if (list === undefined) processes.set(name, [operation]);
    else list.push(operation);
  }
  for (const [name, answers] of processes) {
    checkProcess(name, answers, 'revision', violations);
    checkProcess(name, answers, 'term', violations);
  }
  return violations;
}

function checkProcess(
  name: string,
  answers: readonly KvOperation[],
  field: 'revision' | 'term',
  violations: Violation[],
): void {
  const byEnd = [...answers].sort((a, b) => a.end - b.end);
  const byStart = [...answers].sort((a, b) => a.start - b.start);
  let index = 0;
  let newest: KvOperation | null = null;
  for (const operation of byStart) {
    while (index < byEnd.length && (byEnd[index] as KvOperation).end < operation.start) {
      const ended = byEnd[index++] as KvOperation;
      if (newest === null || ended[field] > newest[field]) newest = ended;
    }
    if (newest === null || operation[field] >= newest[field]) continue;
    violations.push({
      rule: `${field}s never fall`,
      text: `${name} went back from ${newest[field]}:\n  ${describeOperation(newest)}\n  ${describeOperation(operation)}`,
    });
    return;
  }
}
