/**
 * The key space of etcd 2 as members up to 3.6 still keep it beside the other one, with the list of members and the keys
 * of `/v2`, and expect it in the data of a snapshot: without it a real etcd that is sent our snapshot stops. Written as
 * its JSON encoder writes it.
 */
import { type U64, u64ToHex } from '@etsd/base';
import { goString, goStrings, type KeptKeys, type MemberRecord } from '@etsd/state';

export interface V2Membership {
  readonly members: readonly MemberRecord[];
  /** Ids of former members. */
  readonly removed: readonly U64[];
  /** Of the cluster; empty where it is not decided yet. */
  readonly version: string;
  /** What `keptKeys` read from the same state. */
  readonly keys: KeptKeys;
}

/** A node that never expires. */
const FOREVER = '0001-01-01T00:00:00Z';
/** The JSON that etcd's `v2store` recovers from. */
export function v2StoreJson(membership: V2Membership): Buffer {
  const tree = new TreeWriter();
  const { keys } = membership;
  const root = tree.directory('/', 0, [
    ['0', tree.directory('/0', 0, clusterNodes(tree, membership))],
    ['1', keys.tree],
  ]);
  const text = `{"Root":${root},"WatcherHub":{"EventHistory":${keys.history}},"CurrentIndex":${keys.index},"Stats":${STATS},"CurrentVersion":2}`;
  return Buffer.from(text);
}

const STATS = `{${[
  'getsSuccess',
  'getsFail',
  'setsSuccess',
  'setsFail',
  'deleteSuccess',
  'deleteFail',
  'updateSuccess',
  'updateFail',
  'createSuccess',
  'createFail',
  'compareAndSwapSuccess',
  'compareAndSwapFail',
  'compareAndDeleteSuccess',
  'compareAndDeleteFail',
  'expireCount',
  'watchers',
]
  .map((name) => `"${name}":0`)
  .join(',')}}`;

type Child = readonly [name: string, json: string];

/** Writes nodes; each change of the store had an index of its own. */
class TreeWriter {
  index = 0;

  directory(path: string, index: number, children: readonly Child[]): string {
    const inside = children.map(([name, json]) => `${goString(name)}:${json}`).join(',');
    return this.node(path, index, '', `{${inside}}`);
  }

  file(path: string, value: string): string {
    return this.node(path, ++this.index, value, 'null');
  }

  private node(path: string, index: number, value: string, children: string): string {
    return `{"Path":${goString(path)},"CreatedIndex":${index},"ModifiedIndex":${index},"ExpireTime":"${FOREVER}","Value":${goString(value)},"Children":${children}}`;
  }
}

function clusterNodes(tree: TreeWriter, { members, removed, version }: V2Membership): Child[] {
  const nodes: Child[] = [];
  if (members.length > 0) {
    const children = members.map((member): Child => [u64ToHex(member.id), memberNode(tree, member)]);
    nodes.push(['members', tree.directory('/0/members', 1, children)]);
  }
  if (removed.length > 0) {
    const children = removed.map((id): Child => {
      const name = u64ToHex(id);
      return [name, tree.file(`/0/removed_members/${name}`, '')];
    });
    nodes.push(['removed_members', tree.directory('/0/removed_members', tree.index, children)]);
  }
  if (version !== '') nodes.push(['version', tree.file('/0/version', version)]);
  return nodes;
}

function memberNode(tree: TreeWriter, member: MemberRecord): string {
  const path = `/0/members/${u64ToHex(member.id)}`;
  const children: Child[] = [];
  if (member.isStarted) children.push(['attributes', tree.file(`${path}/attributes`, attributes(member))]);
  children.push(['raftAttributes', tree.file(`${path}/raftAttributes`, raftAttributes(member))]);
  return tree.directory(path, tree.index, children);
}

function attributes({ name, clientURLs }: MemberRecord): string {
  const urls = clientURLs.length > 0 ? `,"clientURLs":${goStrings(clientURLs)}` : '';
  return `{"name":${goString(name)}${urls}}`;
}

function raftAttributes({ peerURLs, isLearner }: MemberRecord): string {
  return `{"peerURLs":${goStrings(peerURLs)}${isLearner ? ',"isLearner":true' : ''}}`;
}
