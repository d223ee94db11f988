/**
 * The commands of the transcript, in the order in which they run; each server starts empty. `{L1}`, `{L2}`… in an
 * argument is the id of the first, second… lease that a `lease grant` printed, `{M1}`… that of a member that was added,
 * `{MEMBER}` the member's own id in hex, `{DIRECTORY}` a folder of this run alone.
 */
export interface Step {
  args: string[];
  /** Shown instead of the arguments when a name is clearer. */
  title?: string;
  stdin?: string;
  env?: Record<string, string>;
  /** The command does not end by itself: after so many lines on stdout it gets SIGINT. */
  stopAfterLines?: number;
  /** Run once the command was started, for a command that waits for something. */
  meanwhile?: string[][];
  /** stdout is a protobuf message: the method whose response it is. */
  message?: string;
  /** Patterns whose matches are nobody's promise in this step. */
  mask?: RegExp[];
}

export const step = (line: string, more: Omit<Step, 'args'> = {}): Step => ({ args: words(line), ...more });

/** Splits at blanks; single quotes hold a word together, an empty pair is an empty word. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
}

export const FORMATS = ['simple', 'json', 'fields', 'protobuf', 'table'] as const;

export function inFormats(line: string, method: string, more: Omit<Step, 'args'> = {}): Step[] {
  return FORMATS.map((format) =>
    step(`${line} -w ${format}`, format === 'protobuf' ? { ...more, message: method } : { ...more }),
  );
}

export const REMAINING = [/remaining\(\d+s\)/g, /"ttl":\d+/g, /"TTL" : \d+/g];

/** Ids of leases whose grant did not show them; how many digits they have in decimal is chance. */
const UNKNOWN_IDS = [/\b[0-9a-f]{16}\b/g, /\b\d{12,19}\b/g];

export const PUT_AND_GET: Step[] = [
  step('put foo bar'),
  step('put foo bar2 --prev-kv'),
  ...inFormats('put foo bar3', 'KV/Put'),
  ...inFormats('put foo bar4 --prev-kv', 'KV/Put'),
  ...inFormats('get foo', 'KV/Range'),
  ...inFormats('get missing', 'KV/Range'),
  step('get foo --print-value-only'),
  step('get foo --hex'),
  step('get foo --hex -w json'),
  step('get foo --hex -w fields'),
  step('put a1 v1'),
  step('put a2 v2'),
  step('put a3 v3'),
  step('put a1 w1'),
  step('put empty', { stdin: '' }),
  step('put stdin', { stdin: 'from stdin\nsecond line\n' }),
  step('get stdin -w json'),
  step("put 'with blank' 'value with blank'"),
  step('put -- -dash val'),
  step('get -- -dash'),
  step('put a b c'),
  step('put'),
  step('put onlykey', { stdin: '' }),
  step("put '' v"),
  step('put k --ignore-value'),
  step('put k v --ignore-value'),
  step('put a1 --ignore-value'),
  step('put a1 x --ignore-lease'),
  step('put missing x --ignore-lease'),
  step('put k v --lease=123'),
  step('put k v --lease=zz'),
  step('put k v --lease=1 --ignore-lease'),
  step('get a --prefix'),
  ...inFormats('get a --prefix --keys-only', 'KV/Range'),
  ...inFormats('get a --prefix --count-only', 'KV/Range'),
  ...inFormats('get a --prefix --limit 1', 'KV/Range'),
  step('get a1 a3'),
  step('get a2 --from-key'),
  step("get '' --prefix --limit 2"),
  step("get '' --from-key --keys-only"),
  ...['CREATE', 'KEY', 'MODIFY', 'VALUE', 'VERSION'].flatMap((target) => [
    step(`get a --prefix --sort-by=${target}`),
    step(`get a --prefix --order=DESCEND --sort-by=${target}`),
    step(`get a --prefix --order=ASCEND --sort-by=${target} --limit=2`),
  ]),
  step('get a --prefix --order=foo'),
  step('get a --sort-by=xx'),
  step('get'),
  step("get ''"),
  step('get a b c'),
  step('get a b --prefix'),
  step('get a --prefix --from-key'),
  step('get a --prefix --keys-only --count-only'),
  step('get a --prefix --print-value-only --keys-only'),
  step('get a --print-value-only -w json'),
  step('get foo --rev=2'),
  step('get foo --rev=3 -w json'),
  step('get foo --rev=999'),
  step('get foo --rev=-1 -w json'),
  step('get foo --rev=abc'),
  step('get foo --consistency=s'),
  step('get foo --consistency=l -w json'),
  step('get foo --consistency=x'),
  step('get foo -w yaml'),
  step('nosuchcommand'),
  step('version'),
];

const txn = (stdin: string, flags = ''): Step => step(`txn ${flags}`, { stdin, title: `txn ${flags} <<< ${stdin}` });

export const DELETE: Step[] = [
  step('put d1 v1'),
  step('put d2 v2'),
  step('put d3 v3'),
  step('put d4 v4'),
  step('put d5 v5'),
  step('put d6 v6'),
  step('del d1'),
  step('del d1'),
  step('del d2 --prev-kv'),
  step('del d3 --prev-kv -w json'),
  step('del d4 --prev-kv -w fields'),
  step('del nothing -w fields'),
  step('del nothing -w json'),
  step('del nothing -w table'),
  step('del d5 -w protobuf', { message: 'KV/DeleteRange' }),
  step('del d --prefix --prev-kv'),
  step('put e1 v1'),
  step('put e2 v2'),
  step('put e3 v3'),
  step('del e1 e3'),
  step('del zzz --from-key'),
  step('del'),
  step("del ''"),
  step('del a b --prefix'),
  step('del a b --from-key'),
  step('del a --prefix --from-key'),
  // Three words are no range: nothing may be deleted.
  step('put e5 v5'),
  step('del e1 e9 e10'),
  txn('\ndel e1 e9 e10\n\n\n'),
  step('get e --prefix'),
];

/** A word too many: some commands refuse it, some take no notice. */
export const SURPLUS: Step[] = [
  'put s1 v1 x',
  'get s1 s2 x',
  'lease list x',
  'lease grant 10 x',
  'lease revoke 1 2',
  'lease timetolive 1 2',
  'lease keep-alive 1 2',
  'alarm list x',
  'alarm disarm x',
  'compaction 1 2',
  'defrag x',
  'member list x',
  'member remove 1 2',
  'member promote 1 2',
  'member update 1 2 --peer-urls=http://127.0.0.1:1',
  'move-leader 1 2',
  'snapshot save 1 2',
  'make-mirror 1 2',
  'elect a b c',
  'auth status x',
  'auth enable x',
  'auth disable x',
  'role add r x',
  'role get r x',
  'role delete r x',
  'role list x',
  'role revoke-permission r a b c',
  'role grant-permission r read a b c',
  'user add u x --no-password',
  'user get u x',
  'user delete u x',
  'user list x',
  'user passwd u x',
  'user grant-role u r x',
  'user revoke-role u r x',
  'version x',
].map((words) => step(words));

export const TXN: Step[] = [
  txn('mod("key1") > "0"\n\nput key1 "overwrote-key1"\n\nput key1 "created-key1"\nput key2 "some extra key"\n\n'),
  txn('mod("key1") > "0"\n\nput key1 "overwrote-key1"\n\nput key1 "created-key1"\nput key2 "some extra key"\n\n', '-i'),
  txn(
    'value("key1") = "overwrote-key1"\nver("key1") = "2"\ncreate("key1") > "0"\nc("key1") < "100000"\nm("key1") != "0"\nval("key1") != "x"\nversion("key1") = "2"\n\nget key1\nget key --prefix\ndel key2 --prev-kv\nput key3 v3\n\nget key1\n\n',
  ),
  ...['json', 'fields', 'simple', 'table'].map((format) =>
    txn(
      'value("key1") = "zz"\n\nget key1\n\nget key1\ndel key3\nput key4 v --prev-kv\nget key --prefix --limit=2\n\n',
      `-w ${format}`,
    ),
  ),
  step('txn -w protobuf', { stdin: '\n\nget key1\nput key9 v\n\n\n', message: 'KV/Txn', title: 'txn -w protobuf' }),
  txn('\nput a 1\n\n\n'),
  txn('\n\n\n'),
  txn('mod("key1") = 0\n\nput a 1\n\n\n'),
  txn('mod(key1) = "0"\n\n\n\n'),
  txn('foo("key1") = "0"\n\n\n\n'),
  txn('mod("key1") = "abc"\n\n\n\n'),
  txn('mod("key1") ~ "0"\n\n\n\n'),
  txn('lease("key1") = "0"\n\n\n\n'),
  txn('\nfrob x\n\n\n'),
  txn('\nput a\n\n\n'),
  txn('\nput a 1\nput a 2\n\n\n'),
  txn('\ndel a --prefix\nput a 2\n\n\n'),
  txn('\nget a --rev=100000\n\n\n'),
  txn('\nput a 1 --lease=zz\n\n\n'),
  txn('\nput a 1 --lease=77\n\n\n'),
  txn('\nput "x y" "1 2\\n3"\nget "x y"\n\n\n'),
  txn('\nget key1'),
  step('txn argument'),
  txn(`\n${Array.from({ length: 129 }, (_unused, index) => `put many${index} v\n`).join('')}\n\n`),
];

export const WATCH: Step[] = [
  step('put w1 v1'),
  step('put w1 v2'),
  step('del w1'),
  step('put w2 v3'),
  ...['simple', 'json', 'fields'].map((format) =>
    step(`watch w1 --rev=3 --prev-kv -w ${format}`, {
      stopAfterLines: { simple: 9, json: 1, fields: 26 }[format] ?? 1,
    }),
  ),
  step('watch w --prefix --rev=2', { stopAfterLines: 12 }),
  step('watch w1 w3 --rev=2 --prev-kv', { stopAfterLines: 16 }),
  step("watch '' --prefix --rev=4 --prev-kv", { stopAfterLines: 8 }),
  // From a revision which is still to come, so that nothing can be missed.
  step('watch live --rev=6 --prev-kv', {
    stopAfterLines: 12,
    meanwhile: [
      ['put', 'live', '1'],
      ['put', 'other', '1'],
      ['put', 'live', '2'],
      ['del', 'live'],
    ],
  }),
  step('watch w1 --rev=2 -w table'),
  step('watch w1 --rev=2 -- echo event', { stopAfterLines: 12 }),
  step('watch', { stdin: '' }),
  step('watch a b --prefix'),
  step('watch b a'),
  step('watch w1 --'),
  step('watch --rev=2', { env: { ETCDCTL_WATCH_KEY: 'w1' }, stopAfterLines: 6 }),
  step('watch foo', { env: { ETCDCTL_WATCH_KEY: 'w1' } }),
  step('watch', { env: { ETCDCTL_WATCH_RANGE_END: 'w1' } }),
  step('watch -i', { stdin: 'foo\nwatch\n', title: 'watch -i <<< foo, watch' }),
  step('compaction 4'),
  step('watch w1 --rev=2'),
  step('watch w1 --rev=2 -w json'),
];

export const COMPACTION: Step[] = [
  step('put c 1'),
  step('put c 2'),
  step('put c 3'),
  step('compaction 3'),
  step('compaction 3'),
  step('compaction 2'),
  step('compaction 999'),
  step('compaction abc'),
  step('compaction'),
  step('compact 4 --physical'),
  step('get c --rev=3'),
  step('get c --rev=4'),
];

export const LEASES: Step[] = [
  step('lease list'),
  step('lease grant 100'),
  step('lease grant 200 -w json', { title: 'lease grant -w json' }),
  step('lease grant 300 -w fields'),
  step('lease grant 400 -w protobuf', { message: 'Lease/LeaseGrant' }),
  step('lease grant 500 -w table'),
  step('lease grant abc'),
  step('lease grant'),
  step('lease grant 9000000001'),
  step('lease grant 600'),
  step('put lk1 v --lease={L2}'),
  step('put lk2 v --lease={L3}'),
  step('get lk --prefix -w json'),
  step('get lk1 -w fields'),
  step('lease timetolive {L2}', { mask: REMAINING }),
  ...inFormats('lease timetolive {L2} --keys', 'Lease/LeaseTimeToLive', { mask: REMAINING }),
  ...inFormats('lease list', 'Lease/LeaseLeases', { mask: UNKNOWN_IDS }),
  ...inFormats('lease keep-alive --once {L2}', 'Lease/LeaseKeepAlive'),
  step('lease keep-alive --once 77'),
  step('lease keep-alive'),
  step('lease keep-alive zz'),
  step('put lk1 v'),
  step('lease timetolive {L2} --keys', { mask: REMAINING }),
  step('lease revoke {L2}'),
  step('get lk --prefix -w json'),
  step('lease revoke {L2}'),
  step('lease timetolive {L2}'),
  step('lease timetolive {L2} -w json'),
  step('lease revoke zzz'),
  step('lease revoke'),
  step('lease revoke {L1} -w json'),
];

export const MAINTENANCE: Step[] = [
  step('put m 1'),
  step('put m 2'),
  step('del m'),
  ...inFormats('endpoint health', '-'),
  ...inFormats('endpoint status', '-'),
  ...inFormats('endpoint hashkv', '-'),
  step('endpoint hashkv --rev 3'),
  step('endpoint hashkv --rev 99'),
  step('endpoint health --cluster'),
  step('endpoint status --cluster'),
  step('endpoint'),
  ...inFormats('member list', 'Cluster/MemberList'),
  step('member list --hex -w json'),
  step('member promote {MEMBER}'),
  step('member remove 1234'),
  step('member remove zz'),
  step('member add'),
  step('member add x --peer-urls=foo'),
  step('move-leader {MEMBER}'),
  step('move-leader 1234'),
  ...inFormats('alarm list', 'Maintenance/Alarm'),
  ...inFormats('alarm disarm', 'Maintenance/Alarm'),
  step('defrag'),
  step('endpoint health --endpoints=127.0.0.1:1 --dial-timeout=300ms --command-timeout=300ms'),
  step('get a --endpoints='),
  step('--badflag'),
];

/** A minute of writing: only where it is asked for. */
export const CHECK_PERF: Step[] = [
  step('check perf --load=s', {
    mask: [/\d+ \/ \d+ B[^\n]*/g, /[\d.]+%.*?s\b/g, /\d+ writes\/s/g, /\d+\.\d+s/g, /[^\n]*\r/g],
  }),
  step('check perf --load=s'),
  step('check perf --load=z'),
];

/** The chapters by name. */
const as = (user: string, line: string, more: Omit<Step, 'args'> = {}): Step => step(`--user ${user} ${line}`, more);
const root = (line: string, more: Omit<Step, 'args'> = {}): Step => as('root:rootpw', line, more);
const alice = (line: string, more: Omit<Step, 'args'> = {}): Step => as('alice:alicepw', line, more);

/** The way through etcd's guide to role-based access, and what each kind of user then meets. */
export const AUTH: Step[] = [
  step('auth status'),
  step('auth enable'),
  step('user add root:rootpw'),
  step('user grant-role root root'),
  step('user add alice:firstpw'),
  step('user add bob --no-password'),
  step('role add guide'),
  step('role grant-permission guide read /foo'),
  step('role grant-permission guide read /foo/ --prefix=true'),
  step('role grant-permission guide write /foo/bar'),
  step('role grant-permission guide readwrite key1 key5'),
  step('role grant-permission guide readwrite /pub/ --prefix=true'),
  step('role get guide'),
  step('role revoke-permission guide /foo/bar'),
  step('role get guide'),
  step('user grant-role alice guide'),
  step('user get alice --detail'),
  step('user list'),
  step('role list'),
  step('user passwd alice --interactive=false', { stdin: 'alicepw\n' }),
  step('put key1 one'),
  step('put /secret s'),
  step('auth enable'),
  // Nobody in particular.
  step('get key1'),
  step('put key1 two'),
  step('user list'),
  step('auth status'),
  step('member list'),
  step('endpoint status'),
  // Who can not show who it is.
  as('alice:wrong', 'get key1'),
  as('nobody:pw', 'get key1'),
  as('bob:pw', 'get key1'),
  as('alice:firstpw', 'get key1'),
  // A user with rights on some keys.
  alice('get key1'),
  alice('put key1 two --prev-kv'),
  alice('get key1 key5'),
  alice('get key1 key6'),
  alice('get key --prefix'),
  alice("get '' --from-key"),
  alice('get /secret'),
  alice('put /foo x'),
  alice('del /foo'),
  alice('put /pub/a 1'),
  alice('del /pub/ --prefix'),
  alice('txn', { stdin: 'mod("key1") > "0"\n\nput key2 x\n\nget key1\n\n', title: 'txn on own keys' }),
  alice('txn', { stdin: 'mod("/secret") > "0"\n\nput key2 x\n\n\n\n', title: 'txn that compares a secret' }),
  alice('txn', { stdin: '\nput key2 x\n\nget /secret\n\n', title: 'txn that would read a secret' }),
  alice('watch key1 --rev=2', { stopAfterLines: 3 }),
  alice('watch /secret'),
  alice('watch key1 --from-key'),
  alice('compaction 2'),
  alice('user list'),
  alice('user get alice'),
  alice('user get root'),
  alice('role get guide'),
  alice('role get root'),
  alice('role list'),
  alice('user add eve:pw'),
  alice('auth disable'),
  alice('auth status'),
  alice('member list'),
  alice('member remove 77'),
  alice('endpoint status'),
  alice('endpoint hashkv'),
  alice('endpoint health'),
  alice('alarm list'),
  alice('alarm disarm'),
  alice('defrag'),
  alice('move-leader 77'),
  alice('lease grant 100'),
  alice('put key1 leased --lease={L1}'),
  alice('lease timetolive {L1} --keys', { mask: REMAINING }),
  alice('lease keep-alive --once {L1}'),
  root('put /secret s --lease={L1}'),
  alice('lease timetolive {L1} --keys', { mask: REMAINING }),
  alice('lease timetolive {L1}', { mask: REMAINING }),
  alice('lease list'),
  alice('lease revoke {L1}'),
  alice('put key2 x --lease={L1}'),
  // Root.
  root('lease revoke {L1}'),
  root('get / --prefix'),
  root('auth status'),
  root('endpoint status'),
  root('user get alice'),
  root('role delete root'),
  root('user delete root'),
  root('user revoke-role root root'),
  root('user grant-role alice root'),
  alice('get /secret'),
  root('user revoke-role alice root'),
  alice('get /secret'),
  root('role delete guide'),
  root('user get alice'),
  alice('get key1'),
  root('user delete alice'),
  alice('get key1'),
  root('compaction 3'),
  root('alarm list'),
  root('auth disable'),
  step('auth status'),
  step('get key1'),
  root('get key1'),
];

export const CHAPTERS = {
  PUT_AND_GET,
  DELETE,
  SURPLUS,
  TXN,
  WATCH,
  COMPACTION,
  LEASES,
  MAINTENANCE,
  AUTH,
  CHECK_PERF,
};
