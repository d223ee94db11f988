import { errorChain, u64ToHex } from '@etsd/base';
import type { ReplicationNode } from '@etsd/replication';
import type { Access } from '../access.ts';
import { DebugRoutes, shownCommand } from '../http/debug-routes.ts';
import type { MemberParts } from '../member-parts.ts';

/** What a member shows below `/debug/`. */
export function makeDebugRoutes(
  { world, logger, process: figures, profiler }: MemberParts,
  replication: ReplicationNode,
  access: Access,
): DebugRoutes {
  return new DebugRoutes({
    profiler: profiler ?? null,
    refusal: (asker) => access.rootError(asker),
    after: (ms, callback) => world.timers.after(ms, callback, { ref: false }),
    wallMs: () => world.clock.wallMs(),
    report: (error) => logger.log('error', 'a profile could not be made', { error: errorChain(error) }),
    vars() {
      const raft = { 'raft.status': raftStatus(replication) };
      if (figures === undefined) return raft;
      const { used, total, external } = figures.runtime.heap();
      return {
        cmdline: shownCommand(figures.commandLine),
        file_descriptor_limit: figures.system()?.openFilesMax ?? 0,
        // Those of Go's names that mean the same here.
        memstats: { Alloc: used, HeapAlloc: used, HeapSys: total },
        nodejs: { version: figures.runtime.version, external, resident: figures.residentBytes() },
        ...raft,
      };
    },
  });
}

/** In the form of etcd's library. */
function raftStatus(replication: ReplicationNode): unknown {
  const { role, vote, transferee, progress } = replication.status();
  const hex = u64ToHex;
  return {
    id: hex(replication.memberId),
    term: replication.term,
    vote: hex(vote),
    commit: replication.commitIndex,
    lead: hex(replication.leader),
    raftState: `State${role.replace(/(?:^|-)([a-z])/g, (_all, letter: string) => letter.toUpperCase())}`,
    applied: replication.appliedIndex,
    progress: Object.fromEntries(progress.map(({ id, match, next, state }) => [hex(id), { match, next, state }])),
    leadtransferee: hex(transferee),
  };
}
