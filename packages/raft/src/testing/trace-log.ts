import type { RaftTracer, TraceEvent } from '../trace.ts';

/** Notes the events of several members in the order in which they happen. */
export class TraceLog implements RaftTracer {
  readonly events: TraceEvent[] = [];

  traced(event: TraceEvent): void {
    this.events.push(event);
  }

  /** One JSON object a line, as the trace specification reads them. */
  toNdjson(): string {
    return this.events.map((event) => `${JSON.stringify({ tag: 'trace', event })}\n`).join('');
  }
}

/** What is known of one member from its events so far. */
class Known {
  term = 0;
  vote = '0';
  commit = 0;
  log = 0;
  role = 'StateFollower';
  /** Who granted a vote in the present term. */
  granted: Set<string> = new Set();
}

/**
 * Looks for contradictions in a trace: a small part of what the TLA+ specification checks, without its tools. The members
 * of the trace do not restart. Returns what is wrong, one line each.
 */
export function contradictions(events: readonly TraceEvent[]): string[] {
  const problems: string[] = [];
  const members: Map<string, Known> = new Map();
  const underWay: Map<string, number> = new Map();
  const leaders: Map<number, string> = new Map();
  let committed = 0;
  for (const [place, event] of events.entries()) {
    const say = (problem: string): void => {
      problems.push(`event ${place + 1}, ${event.name} of ${event.nid}: ${problem}`);
    };
    const known = members.get(event.nid) ?? new Known();
    members.set(event.nid, known);
    checkState(event, known, say);
    if (event.msg !== undefined) checkMessage(event, known, underWay, say);
    if (event.name === 'BecomeLeader') checkLeader(event, known, leaders, say);
    if (event.name === 'Commit') {
      if (event.role !== 'StateLeader') say('only a leader decides what is committed');
      committed = Math.max(committed, event.state.commit);
    } else if (event.state.commit > Math.max(committed, founded(event))) {
      say(`commit ${event.state.commit} is beyond what any leader decided`);
    }
    const { term, vote, commit } = event.state;
    if (term !== known.term) known.granted = new Set();
    Object.assign(known, { term, vote, commit, log: event.log, role: event.role });
  }
  return problems;
}

/** The entries of the founders are committed from the start; nobody has voted then. */
function founded({ state, log }: TraceEvent): number {
  return state.term <= 1 ? log : state.commit === 0 ? 0 : FOUNDERS_MAX;
}

/** Founders in traces. Their entries need no leader. */
const FOUNDERS_MAX = 5;

type Say = (problem: string) => void;

function checkState({ name, state, log, role }: TraceEvent, known: Known, say: Say): void {
  if (state.term < known.term) say(`the term fell from ${known.term}`);
  if (state.commit < known.commit) say(`the commit index fell from ${known.commit}`);
  if (state.commit > log) say(`commit ${state.commit} is behind the end of the log, ${log}`);
  if (state.term === known.term && known.vote !== '0' && state.vote !== known.vote) say('a vote was changed');
  if (name === 'Replicate' && role !== 'StateLeader') say('only a leader appends');
  if (log < known.log && (role === 'StateLeader' || log < known.commit)) say('what is kept for good was dropped');
}

function checkMessage(
  { name, nid, msg, role }: TraceEvent,
  known: Known,
  underWay: Map<string, number>,
  say: Say,
): void {
  if (msg === undefined) return;
  const key = JSON.stringify(msg);
  if (name.startsWith('Send')) {
    if (msg.from !== nid) say(`sent for ${msg.from}`);
    if (msg.type === 'MsgApp' && role !== 'StateLeader') say('only a leader sends entries');
    underWay.set(key, (underWay.get(key) ?? 0) + 1);
    return;
  }
  if (msg.to !== nid) say(`received for ${msg.to}`);
  const count = underWay.get(key) ?? 0;
  if (count === 0) say(`nobody sent ${key}`);
  underWay.set(key, count - 1);
  if (msg.type === 'MsgVoteResp' && !msg.reject && msg.term === known.term) known.granted.add(msg.from);
}

function checkLeader({ nid, state, conf }: TraceEvent, known: Known, leaders: Map<number, string>, say: Say): void {
  const other = leaders.get(state.term);
  if (other !== undefined) say(`${other} led term ${state.term} already`);
  leaders.set(state.term, nid);
  for (const voters of conf) {
    const votes = voters.filter((voter) => known.granted.has(voter)).length;
    if (voters.length > 0 && votes <= voters.length / 2) say(`${votes} votes of ${voters.length}`);
  }
}
