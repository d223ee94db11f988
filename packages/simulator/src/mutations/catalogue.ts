import type { Mutation } from './mutation.ts';

/** etcd's documented correctness bugs, in the order of their numbers. What went wrong there is told in our own words. */
export const MUTATIONS: readonly Mutation[] = [
  {
    id: '13766',
    title: 'Inconsistent revision after a crash under high load',
    there: 'The index of an entry could be committed to the store before the entry’s effects were.',
    here: 'A batch of the store is closed between the index of an entry and its effects.',
    edits: [
      {
        file: 'state/src/consistent-index.ts',
        find: '    this.term = term;\n    this.dirty = true;\n',
        replace:
          '    this.term = term;\n    this.dirty = true;\n    if (index % 3 === 0) (this.backend as unknown as { commit(): void }).commit();\n',
      },
    ],
  },
  {
    id: '14370',
    title: 'A cluster of one loses a write in a crash',
    there: 'A lone member counted its own vote for an entry, and answered, before the entry was synced.',
    here: 'A lone voter counts what it hands to the log as durable.',
    edits: [
      {
        file: 'raft/src/raw-node.ts',
        find: '    log.writes.push(write);\n    out.write = write;\n',
        replace:
          '    log.writes.push(write);\n    out.write = write;\n    if (raft.isOnlyVoter && raft.role === LEADER) {\n      log.stable = log.lastIndex;\n      acknowledgeSelf(raft);\n    }\n',
      },
    ],
  },
  {
    id: '14571',
    title: 'Enabling authentication leads to inconsistency',
    there:
      'A member that received a snapshot went on with the permissions it had known before, and denied what others applied.',
    here: 'Users and roles are not read anew when a snapshot is put in place.',
    edits: [{ file: 'state/src/apply.ts', find: '    this.auth.reload();\n', replace: '' }],
  },
  {
    id: '14685',
    title: 'Inconsistent revision after a crash in a defragmentation',
    there: 'Defragmenting committed what was pending without the index that belongs to it: it was applied again.',
    here: 'Defragmenting closes the batch without the hook that adds the index.',
    edits: [
      {
        file: 'backend/src/memory.ts',
        find: "    faultPoint('defragment.before');\n    this.commit();\n",
        replace:
          "    faultPoint('defragment.before');\n    const hooks = this.hooks.splice(0);\n    this.commit();\n    this.hooks.push(...hooks);\n",
      },
      {
        file: 'backend/src/lmdb.ts',
        find: '    // What was deleted last should not be copied: deleted afterwards, it would leave holes in the new file.\n    await this.committedNow();\n',
        replace:
          '    const hooks = this.hooks.splice(0);\n    this.commit();\n    this.hooks.push(...hooks);\n    await this.committedNow();\n',
      },
    ],
  },
  {
    id: '15220',
    title: 'A progress notice overtakes events',
    there: 'The answer to a request for progress was sent past the events that were still to be sent.',
    here: 'Progress is answered while watchers of the stream are behind.',
    edits: [
      {
        file: 'mvcc/src/watch-stream.ts',
        find: '    if (this.live === 0 || this.behind > 0) return;\n',
        replace: '    if (this.live === 0) return;\n',
      },
    ],
  },
  {
    id: '15271',
    title: 'A watch goes back in time after a partition',
    there: 'After a snapshot every watcher began anew where it had once begun.',
    here: 'After a snapshot watchers begin some revisions before what they were told last.',
    edits: [
      {
        file: 'mvcc/src/watch-hub.ts',
        find: '        if (watcher.heapKey <= told) watcher.heapKey = told + 1;\n',
        replace: '        if (watcher.heapKey <= told) watcher.heapKey = Math.max(1, told - 50);\n',
      },
    ],
  },
  {
    id: '17247',
    title: 'An event comes twice',
    there: 'A cache of uncommitted writes and the file under it both gave a record, and the reader took both.',
    here: 'A scan of the store shows a record that is in flight and in the file already twice.',
    edits: [
      {
        file: 'backend/src/layer.ts',
        find: '    for (const run of runs) if (run.keys[run.at] === key) return true;\n',
        replace: '',
      },
    ],
  },
  {
    id: '17529',
    title: 'Events are lost while a stream is starved',
    there:
      'A watcher that was so slow that its next events were compacted was not cancelled and went on behind the gap.',
    here: 'A watcher whose next revision is compacted goes on at the oldest there is.',
    edits: [
      {
        file: 'mvcc/src/watch-hub.ts',
        find: '      this.retire(watcher);\n      stream.sink.compacted(watcher, this.source.compactRevision);\n      return cost;\n',
        replace:
          '      watcher.heapKey = this.source.compactRevision;\n      this.behind.push(watcher);\n      return cost;\n',
      },
    ],
  },
  {
    id: '17780',
    title: 'The revision falls after a crash in a compaction',
    there:
      'Compacting removed the newest record where it was a deletion; restarted before the end, the member did not know the revision.',
    here: 'The same: deletions at the revision are removed, and the revision is read from records alone.',
    edits: [
      { file: 'mvcc/src/compact.ts', find: 'main >= revision || index', replace: 'main > revision || index' },
      {
        file: 'mvcc/src/restore.ts',
        find: '    this.revision = Math.max(1, finished, scheduled);\n',
        replace: '    this.revision = 1;\n',
      },
    ],
  },
  {
    id: '18055',
    title: 'A member stops when two snapshots come shortly after each other',
    there: 'Receiving the second removed the file of the first, which was still to be installed.',
    here: 'The same.',
    edits: [
      {
        file: 'server/src/snapshots/sink.ts',
        find: '    await removeReceived(world, directory, appliedIndex());\n',
        replace: '    await removeReceived(world, directory, Math.max(appliedIndex(), metadata.index - 1));\n',
      },
    ],
  },
  {
    id: '18089',
    title: 'A watch misses the deletion at the compacted revision',
    there: 'Compacting removed a deletion at the very revision, at which a watch may still begin.',
    here: 'The same.',
    edits: [{ file: 'mvcc/src/compact.ts', find: 'main >= revision || index', replace: 'main > revision || index' }],
  },
  {
    id: '18667',
    title: 'Inconsistency by a transaction that reads a compacted revision',
    there: 'Only the member that was asked looked at the ranges of a transaction: it refused what all others applied.',
    here: 'Members that have nobody to answer do not check the ranges of a transaction.',
    edits: [
      {
        file: 'state/src/txn.ts',
        find: '    const error = this.refusal(request) ?? denied ?? this.prepare(request);\n    if (error !== null) {\n      waiter?.fail',
        replace:
          '    (this as unknown as { unasked: boolean }).unasked = waiter === null;\n    const error = this.refusal(request) ?? denied ?? this.prepare(request);\n    if (error !== null) {\n      waiter?.fail',
      },
      {
        file: 'state/src/txn.ts',
        find: '    if (range.revision === 0) return null;\n',
        replace: '    if (range.revision === 0 || (this as unknown as { unasked: boolean }).unasked) return null;\n',
      },
    ],
  },
  {
    id: '19179',
    title: 'A watch misses a deletion where a compaction went on after a restart',
    there:
      'A compaction that was taken up after a restart removed the deletion at its revision, which the first run had kept.',
    here: 'The same.',
    edits: [
      {
        file: 'mvcc/src/store.ts',
        find: '    this.compaction = new Compaction(this, revision, hash, this.compactionHashes);\n',
        replace:
          '    this.compaction = new Compaction(this, revision, hash, this.compactionHashes);\n    Object.assign(this.compaction, { isResumed: !withHash });\n',
      },
      {
        file: 'mvcc/src/compact.ts',
        find: 'main >= revision || index',
        replace:
          '(main >= revision && !((this as unknown as { isResumed: boolean }).isResumed && main === revision)) || index',
      },
    ],
  },
  {
    id: '20221a',
    title: 'A watch on a future revision gets events from before it',
    there: 'A snapshot put watchers that waited for a later revision back to the present one.',
    here: 'The same.',
    edits: [
      {
        file: 'mvcc/src/watch-hub.ts',
        find: '        if (watcher.heapKey <= told) watcher.heapKey = told + 1;\n',
        replace: '        watcher.heapKey = told + 1;\n',
      },
    ],
  },
  {
    id: '20221b',
    title: 'A watch on a future revision gets notices of progress from before it',
    there: 'Who waited for a later revision was told the present one, and clients went on from there.',
    here: 'The same.',
    edits: [
      {
        file: 'mvcc/src/watch-stream.ts',
        find: '      const due = watcher.quiet && watcher.state === SYNCED && watcher.heapKey <= revision;\n',
        replace: '      const due = watcher.quiet && watcher.state === SYNCED;\n',
      },
      {
        file: 'mvcc/src/watch-stream.ts',
        find: '        if (watcher.state === SYNCED && watcher.heapKey > revision) return;\n',
        replace: '',
      },
    ],
  },
  {
    id: '20271',
    title: 'A page of the file is not what it should be',
    there: 'A reader could see a page of the file while it was being written for somebody else.',
    here: 'What is written into a snapshot’s file is read from the store as it changes, not from one moment of it.',
    edits: [
      {
        file: 'server/src/snapshots/snapshot-files.ts',
        find: '      size = await writeStoreToBolt(frozen, disk',
        replace: '      size = await writeStoreToBolt(Object.assign(Object.create(backend), { close() {} }), disk',
      },
    ],
  },
  {
    id: '20418',
    title: 'Stale reads after a process was paused',
    there:
      'A late heartbeat answer confirmed a read that was asked for again under the same name, and all reads before it.',
    here: 'Rounds of reads carry the name of the read, not one of their own.',
    edits: [
      {
        file: 'raft/src/read-rounds.ts',
        find: 'this.heartbeatKey = ',
        replace: 'this.heartbeatKey = key || ',
      },
    ],
  },
];
