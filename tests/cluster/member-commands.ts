/** A fixed course of commands about members, and what a cluster of one product answers to it. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Message, Outcome } from '../support/client.ts';
import { type ClusterMember, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/conditions.ts';
import type { Product } from '../support/server.ts';

/** Connections count from this age on; a little more, so that both products agree that they do. */
const CONNECTED_MS = 5500;
/** Until a member that was killed counts as down with all others. */
const NOTICED_MS = 1500;
/** An id follows from the URLs and the second: the same URLs in another second are another member. */
const NEXT_SECOND_MS = 1100;
/** Peer addresses at which nobody is. */
const [NOWHERE, ELSEWHERE, THIRD, FOURTH, FIFTH] = [1, 2, 3, 4, 5].map((port) => `http://127.0.0.1:${port}`) as [
  string,
  string,
  string,
  string,
  string,
];
const UNKNOWN_ID = '123456789';
const DEADLINE_EXCEEDED = 4;

/** One line for each command: who was asked what, and the answer with ids and addresses replaced by names. */
export async function memberCommands(products: Product[], print: (line: string) => void = () => {}): Promise<string[]> {
  const cluster = await TestCluster.start({ products });
  try {
    const course = new Course(cluster, print);
    if (products.length === 5) await course.runFive();
    else await course.run();
    return course.lines;
  } finally {
    await cluster.dispose();
  }
}

class Course {
  readonly lines: string[] = [];
  private readonly cluster: TestCluster;
  /** Names of ids and addresses. */
  private readonly names = new Map<string, string>();

  private readonly print: (line: string) => void;

  constructor(cluster: TestCluster, print: (line: string) => void) {
    this.cluster = cluster;
    this.print = print;
  }

  async run(): Promise<void> {
    const { cluster } = this;
    const leader = await cluster.agreed();
    const [one, two] = cluster.members.filter((member) => member !== leader) as [ClusterMember, ClusterMember];
    await this.name(leader, 'L');
    await this.name(one, 'F1');
    await this.name(two, 'F2');
    await pause(CONNECTED_MS);
    for (const linearizable of [true, false]) await this.say(one, 'MemberList', { linearizable });
    for (const member of [leader, one]) await this.nonsense(member, leader.membership.advertisePeerUrl);
    await this.learner(leader, one);
    await this.voter(leader, one);
    await this.failures(leader, one, two);
  }

  /** Of five members one is down, then two: what a majority lets happen, and what not. */
  async runFive(): Promise<void> {
    const { cluster } = this;
    const leader = await cluster.agreed();
    const others = cluster.members.filter((member) => member !== leader);
    await this.name(leader, 'L');
    for (const [index, member] of others.entries()) await this.name(member, `F${index + 1}`);
    const [one, two, three] = others as [ClusterMember, ClusterMember, ClusterMember];
    const [idOne, idTwo, idThree] = [await this.idOf(one), await this.idOf(two), await this.idOf(three)];
    await pause(CONNECTED_MS);
    await three.kill();
    await pause(NOTICED_MS);
    const ID = await this.add(leader, { peerURLs: [NOWHERE] }, 'N1');
    await this.say(leader, 'MemberRemove', { ID });
    await two.kill();
    await pause(NOTICED_MS);
    for (const isLearner of [false, true]) await this.say(leader, 'MemberAdd', { peerURLs: [ELSEWHERE], isLearner });
    await this.say(leader, 'MemberRemove', { ID: idOne });
    await this.say(leader, 'MemberRemove', { ID: idThree });
    await this.say(leader, 'MemberRemove', { ID: idOne });
    await this.say(leader, 'MemberRemove', { ID: idTwo });
    await this.say(leader, 'MemberList', { linearizable: true });
    await this.say(leader, 'MemberRemove', { ID: idOne });
  }

  private async nonsense(member: ClusterMember, taken: string): Promise<void> {
    for (const peerURLs of [[], ['foo'], ['http://h'], ['http://h:1/path'], ['ftp://h:1'], [taken], [NOWHERE, taken]]) {
      await this.say(member, 'MemberAdd', { peerURLs });
    }
    await this.say(member, 'MemberRemove', { ID: UNKNOWN_ID });
    await this.say(member, 'MemberUpdate', { ID: UNKNOWN_ID, peerURLs: [NOWHERE] });
    await this.say(member, 'MemberPromote', { ID: UNKNOWN_ID });
    await this.say(member, 'MemberPromote', { ID: await this.idOf(member) });
  }

  /** A learner that never starts. */
  private async learner(leader: ClusterMember, one: ClusterMember): Promise<void> {
    const ID = await this.add(one, { peerURLs: [NOWHERE], isLearner: true }, 'N1');
    await this.say(one, 'MemberAdd', { peerURLs: [ELSEWHERE], isLearner: true });
    await pause(NEXT_SECOND_MS);
    await this.say(one, 'MemberAdd', { peerURLs: [NOWHERE], isLearner: true });
    for (const member of [leader, one]) await this.say(member, 'MemberPromote', { ID });
    const taken = one.membership.advertisePeerUrl;
    await this.say(one, 'MemberUpdate', { ID, peerURLs: [taken] });
    await this.say(leader, 'MemberRemove', { ID });
    for (const method of ['MemberRemove', 'MemberPromote']) await this.say(one, method, { ID });
    await this.say(one, 'MemberUpdate', { ID, peerURLs: [ELSEWHERE] });
  }

  /** A voter that never starts: others may then not be added. */
  private async voter(leader: ClusterMember, one: ClusterMember): Promise<void> {
    const ID = await this.add(leader, { peerURLs: [THIRD] }, 'N2');
    await pause(NEXT_SECOND_MS);
    for (const member of [leader, one]) await this.say(member, 'MemberAdd', { peerURLs: [THIRD] });
    const learner = await this.add(one, { peerURLs: [FOURTH], isLearner: true }, 'N3');
    const second = await this.add(one, { peerURLs: [FIFTH] }, 'N4');
    for (const member of [leader, one]) await this.say(member, 'MemberAdd', { peerURLs: [NOWHERE] });
    await this.say(one, 'MemberPromote', { ID: learner });
    await this.say(one, 'MemberUpdate', { ID, peerURLs: [ELSEWHERE] });
    for (const id of [second, learner, ID]) await this.say(one, 'MemberRemove', { ID: id });
  }

  /** One of three is down, and goes; then one of two. */
  private async failures(leader: ClusterMember, one: ClusterMember, two: ClusterMember): Promise<void> {
    const [idOne, idTwo] = [await this.idOf(one), await this.idOf(two)];
    await two.kill();
    await pause(NOTICED_MS);
    await this.say(leader, 'MemberList', { linearizable: true });
    for (const isLearner of [false, true]) await this.say(leader, 'MemberAdd', { peerURLs: [NOWHERE], isLearner });
    await this.say(leader, 'MemberRemove', { ID: idOne });
    await this.say(leader, 'MemberRemove', { ID: await this.idOf(leader) });
    await this.say(leader, 'MemberRemove', { ID: idTwo });
    await this.say(leader, 'MemberList', { linearizable: true });
    await this.say(leader, 'MemberRemove', { ID: idOne });
    await this.say(leader, 'MemberRemove', { ID: await this.idOf(leader) });
    await one.ended(20_000);
  }

  private async add(member: ClusterMember, request: Message, name: string): Promise<string> {
    const outcome = await eventually(20_000, 'a member can be added', async () => {
      const answer = await this.cluster.client(member).call('Cluster/MemberAdd', request);
      return answer.response === null && answer.message.includes('unhealthy') ? null : answer;
    });
    const id = (outcome.response?.['member'] as Message | undefined)?.['ID'] as string | undefined;
    if (id !== undefined) this.names.set(id, name);
    this.note(member, 'MemberAdd', request, outcome);
    return id ?? UNKNOWN_ID;
  }

  private async say(member: ClusterMember, method: string, request: Message): Promise<void> {
    const client = this.cluster.client(member);
    let outcome = await client.call(`Cluster/${method}`, request);
    // A leader of etcd drops a change that comes before it has noted the one before as applied, and says nothing for ever.
    if (outcome.code === DEADLINE_EXCEEDED && member.product === 'etcd') {
      outcome = await client.call(`Cluster/${method}`, request);
    }
    this.note(member, method, request, outcome);
  }

  private note(member: ClusterMember, method: string, request: Message, { code, message, response }: Outcome): void {
    const asked = JSON.stringify(this.masked(request));
    const who = this.names.get(member.membership.advertisePeerUrl);
    const answer = response === null ? `${code} ${message}` : JSON.stringify(this.masked(response));
    const line = `${who} ${method} ${asked} → ${answer}`;
    this.lines.push(line);
    this.print(line);
  }

  private async name(member: ClusterMember, name: string): Promise<void> {
    const { advertisePeerUrl } = member.membership;
    this.names.set(await this.idOf(member), name);
    this.names.set(advertisePeerUrl, name);
    this.names.set(`http://${member.address}`, `client of ${name}`);
    this.names.set(member.membership.name, name);
  }

  private async idOf(member: ClusterMember): Promise<string> {
    const { response } = await this.cluster.client(member).call('Cluster/MemberList', {});
    const list = (response?.['members'] ?? []) as Message[];
    const own = list.find((each) => (each['peerURLs'] as string[]).includes(member.membership.advertisePeerUrl));
    return (own?.['ID'] as string | undefined) ?? UNKNOWN_ID;
  }

  private masked(value: unknown): unknown {
    if (typeof value === 'string') return this.names.get(value) ?? value;
    if (Array.isArray(value)) {
      const items = value.map((item: unknown) => this.masked(item));
      return items.sort((left, right) => (JSON.stringify(left) < JSON.stringify(right) ? -1 : 1));
    }
    if (value === null || typeof value !== 'object') return value;
    const fields = Object.entries(value as Message)
      .filter(([name]) => name !== 'cluster_id' && name !== 'raft_term')
      .map(([name, field]) => [name, this.masked(field)]);
    return Object.fromEntries(fields);
  }
}
