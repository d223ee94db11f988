/** What is compared beyond the chapters that judge the server. */
import * as shared from '../etcdctl/steps.ts';
import { FORMATS, inFormats, REMAINING, step } from '../etcdctl/steps.ts';

/** Ids that a server chose. */
const NEW_MEMBER = [/\b[0-9a-f]{13,16}\b/g, /\b\d{17,20}\b/g];
const LEASE_KEYS = [/\/[0-9a-f]{13,16}\b/g];

const { AUTHENTICATED, USERS } = auth();

/** Users, roles and permissions: while everybody may do everything, and once users have to log in. */
function auth(): Record<'USERS' | 'AUTHENTICATED', shared.Step[]> {
  const root = (line: string): shared.Step => step(`--user root:rootpw ${line}`);
  const users = [
    step('user add root:rootpw'),
    step('user add root:rootpw'),
    step('user add alice --new-user-password=pw'),
    step('user add nopw --no-password'),
    step('user add bob --interactive=false', { stdin: 'pw\n' }),
    step('user add carl:'),
    step('user add carl'),
    step('user add :x'),
    step('user add'),
    ...FORMATS.map((format) => step(`user add u-${format}:pw -w ${format}`, protobuf(format, 'Auth/UserAdd'))),
    ...FORMATS.map((format) => step(`role add r-${format} -w ${format}`, protobuf(format, 'Auth/RoleAdd'))),
    step('role add r1'),
    step('role add r1'),
    step('role add'),
    ...inFormats('user list', 'Auth/UserList'),
    ...inFormats('role list', 'Auth/RoleList'),
    step('role grant-permission r1 read foo'),
    step('role grant-permission r1 write foo fop'),
    step('role grant-permission r1 readwrite pre/ --prefix'),
    step('role grant-permission r1 read zz --from-key'),
    step("role grant-permission r1 read '' --from-key"),
    step("role grant-permission r1 read '' --prefix"),
    step('role grant-permission r1 bad foo'),
    step('role grant-permission r1 read'),
    step('role grant-permission r1 read a b --prefix'),
    step('role grant-permission r1 read a b --from-key'),
    step('role grant-permission r1 read a --from-key --prefix'),
    step('role grant-permission nope read a'),
    ...inFormats('role grant-permission r1 READ again', 'Auth/RoleGrantPermission'),
    ...inFormats('role get r1', 'Auth/RoleGet'),
    step('role get nope'),
    step('role get'),
    step('role list x'),
    step('user grant-role alice r1'),
    step('user grant-role alice nope'),
    step('user grant-role alice'),
    ...inFormats('user grant-role root root', 'Auth/UserGrantRole'),
    ...inFormats('user get alice', 'Auth/UserGet'),
    ...inFormats('user get alice --detail', '-').filter(({ args }) => !args.includes('protobuf')),
    step('user get root --detail'),
    step('user get'),
    step('user get nope'),
    step('user list x'),
    step('user passwd alice --interactive=false', { stdin: 'newpw\n' }),
    step('user passwd'),
    ...inFormats('auth status', 'Auth/AuthStatus'),
    ...FORMATS.map((format) => step(`auth disable -w ${format}`)),
    step('auth enable x'),
    step('auth disable x'),
    ...FORMATS.map((format) =>
      step(
        `user revoke-role ${format === 'simple' ? 'alice r1' : 'root root'} -w ${format}`,
        protobuf(format, 'Auth/UserRevokeRole'),
      ),
    ),
    step('user revoke-role alice'),
    ...FORMATS.map((format) =>
      step(
        `role revoke-permission r1 ${format === 'simple' ? 'foo' : 'again'} -w ${format}`,
        protobuf(format, 'Auth/RoleRevokePermission'),
      ),
    ),
    step('role revoke-permission r1 foo fop'),
    step('role revoke-permission r1 zz --from-key'),
    step('role revoke-permission r1 pre/ --prefix'),
    step('role revoke-permission r1 nope'),
    step('role revoke-permission r1'),
    ...FORMATS.map((format) => step(`user delete u-${format} -w ${format}`, protobuf(format, 'Auth/UserDelete'))),
    ...FORMATS.map((format) => step(`role delete r-${format} -w ${format}`, protobuf(format, 'Auth/RoleDelete'))),
    step('user delete nope'),
    step('user delete'),
    step('role delete'),
    step('auth enable'),
  ];
  const authenticated = [
    step('user add root:rootpw'),
    step('user add alice:pw'),
    step('role add r1'),
    step('role grant-permission r1 readwrite pre/ --prefix'),
    step('user grant-role alice r1'),
    step('user grant-role root root'),
    step('auth enable'),
    step('auth enable'),
    step('get a'),
    root('get a'),
    step('--user root:bad get a'),
    step('--user root --password rootpw get a'),
    step('--user root:rootpw --password rootpw get a'),
    step('get a', { env: { ETCDCTL_USER: 'root:rootpw' }, title: 'get a, user in the environment' }),
    step('--user alice:pw get pre/x'),
    step('--user alice:pw put pre/x y'),
    step('--user alice:pw put other y'),
    step('--user alice:pw del zz --from-key'),
    step('--user alice:pw user list'),
    step('--user alice:pw lease grant 100', { mask: [/\b[0-9a-f]{16}\b/g] }),
    step('--user nobody:pw get pre/x'),
    root('auth status'),
    root('endpoint status'),
    root('endpoint health'),
    step('--user alice:pw endpoint health'),
    step('endpoint status'),
    step('endpoint health'),
    root('compaction 1'),
    root('auth disable'),
    step('get pre/x'),
  ];
  return { USERS: users, AUTHENTICATED: authenticated };
}

function protobuf(format: string, message: string): Omit<shared.Step, 'args'> {
  return format === 'protobuf' ? { message } : {};
}

/** A second member that votes would leave this one, which stays alone, without a majority. */
const MEMBERS: shared.Step[] = [
  ...inFormats('member list', 'Cluster/MemberList'),
  step('member list --hex'),
  step('member add'),
  step('member add x'),
  step('member add x http://127.0.0.1:1'),
  step('member add x y'),
  step('member add x --peer-urls=127.0.0.1:1'),
  step('member remove'),
  step('member remove 1 2'),
  step('member update'),
  step('member update zz --peer-urls=http://127.0.0.1:1'),
  step('member update {MEMBER}'),
  step('member update 77 --peer-urls=http://127.0.0.1:9'),
  step('member promote'),
  step('member promote 77'),
  ...FORMATS.map((format) =>
    step(`member update {MEMBER} --peer-urls=http://127.0.0.1:1${FORMATS.indexOf(format)} -w ${format}`, {
      mask: NEW_MEMBER,
      ...protobuf(format, 'Cluster/MemberUpdate'),
    }),
  ),
  step('move-leader'),
  step('move-leader zz'),
  step('move-leader 1 2'),
  step('member'),
  step('member nope'),
  // Last, since the order of two members is that of their ids, which depend on the time.
  step('member add learner --learner --peer-urls=http://127.0.0.1:1', {
    mask: [...NEW_MEMBER, /ETCD_INITIAL_CLUSTER="[^"]*"/g],
  }),
  step('member add another --learner --peer-urls=http://127.0.0.1:2'),
];

/** Beginnings of commands, flags in other places, mistakes. */
const COMMAND_LINES: shared.Step[] = [
  step('put a 1'),
  step('ge a'),
  step('g a'),
  step('p'),
  step('--write-out json get a'),
  step('get --write-out=json a'),
  step('get a -wjson'),
  step('-w json get a'),
  step('get a -w=json'),
  step('get -- a'),
  step('get a --hex=false'),
  step('get a --hex=maybe'),
  step('get a --limit'),
  step('get a --limit=x'),
  step('get a --limit=1x'),
  step('get a --dial-timeout=1'),
  step('get a --dial-timeout=1m30s'),
  step('get a -x'),
  step('get a -w'),
  step('get a ---x'),
  step('get a --cert='),
  step('get a --key='),
  step('get a --cacert='),
  step('get a --cacert=/no/such/file'),
  step('get a', { env: { ETCDCTL_WRITE_OUT: 'json' }, title: 'get a, format in the environment' }),
  step('get a', { env: { ETCDCTL_HEX: 'true' }, title: 'get a, hex in the environment' }),
  step('get a', { env: { ETCDCTL_COMMAND_TIMEOUT: 'xx' }, title: 'get a, a bad timeout in the environment' }),
  step('get a', {
    env: { ETCDCTL_ENDPOINTS: '127.0.0.1:1', ETCDCTL_COMMAND_TIMEOUT: '300ms' },
    title: 'get a from nobody',
  }),
  step('put a 2', {
    env: { ETCDCTL_ENDPOINTS: '127.0.0.1:1', ETCDCTL_COMMAND_TIMEOUT: '300ms' },
    title: 'put to nobody',
  }),
  step('endpoint health', {
    env: { ETCDCTL_ENDPOINTS: '127.0.0.1:1', ETCDCTL_COMMAND_TIMEOUT: '300ms' },
    title: 'endpoint health of nobody',
  }),
  step('endpoint status', {
    env: { ETCDCTL_ENDPOINTS: '127.0.0.1:1', ETCDCTL_COMMAND_TIMEOUT: '300ms' },
    title: 'endpoint status of nobody',
  }),
  step('endpoint health -w json', {
    env: { ETCDCTL_ENDPOINTS: '127.0.0.1:1', ETCDCTL_COMMAND_TIMEOUT: '300ms' },
    title: 'endpoint health of nobody as json',
  }),
  step('lease'),
  step('lease nope'),
  step('role'),
  step('user nope'),
  step('alarm list x'),
  step('alarm disarm x'),
  step('watch a', { env: { ETCDCTL_WRITE_OUT: 'yaml' }, title: 'watch a, a bad format in the environment' }),
];

/** Values that are not plain text. */
const BYTES: shared.Step[] = [
  step('put bin', { stdin: '\x00\x01\x7f"\\\n\ttext <>&' }),
  ...inFormats('get bin', 'KV/Range'),
  step('get bin --hex'),
  step("put 'schlüssel' 'wert → ☃ 𝄞'"),
  ...inFormats("get 'schlüssel'", 'KV/Range'),
  step("get '' --prefix"),
  step("get '' --from-key --print-value-only"),
  step("watch '' --prefix --rev=2", { stopAfterLines: 5 }),
  step("watch '' --prefix --rev=2 -w fields", { stopAfterLines: 16 }),
  step("watch '' --prefix --rev=2 -w json", { stopAfterLines: 1 }),
  step("watch bin --rev=2 -- sh -c 'env | grep ETCD_WATCH_ | sort; echo .'", { stopAfterLines: 9 }),
  step('watch bin --rev=2 -- false'),
  step('watch bin --rev=2 -- nosuchprogram'),
  step('watch b a -w json'),
  step('watch b a -w fields'),
];

/** Locks and elections; what holds one is stopped once it has printed the key. */
const CONCURRENCY: shared.Step[] = [
  step('lock'),
  step('lock name', { stopAfterLines: 1, mask: LEASE_KEYS }),
  step('lock name -w json', { stopAfterLines: 1, mask: [...LEASE_KEYS, /"lease":\d+/g, /"key":"[^"]*"/g] }),
  step('lock name --ttl=5 -- sh -c "exit 3"'.replaceAll('"', "'")),
  step('lock name -- true'),
  step("lock name -- sh -c 'echo $ETCD_LOCK_KEY $ETCD_LOCK_REV'", { mask: [...LEASE_KEYS, /\d+$/gm] }),
  step('lock name nosuchprogram'),
  step('lock name sh -c true'),
  step('lock name --ttl=x'),
  step('get name --prefix'),
  step('elect'),
  step('elect name'),
  step('elect -l name proposal'),
  step('elect name a b'),
  step('elect name me', { stopAfterLines: 2, mask: LEASE_KEYS }),
  step('get name --prefix'),
];

const REST: shared.Step[] = [
  step('snapshot save'),
  step('snapshot save a b'),
  step('snapshot save /no/such/folder/file'),
  step('snapshot save {DIRECTORY}/snapshot.db'),
  step('snapshot save {DIRECTORY}/snapshot.db -w json'),
  step('snapshot save x', { env: { ETCDCTL_ENDPOINTS: 'a:1,b:1' }, title: 'snapshot save of two' }),
  step('make-mirror'),
  step('make-mirror a b'),
  step('make-mirror 127.0.0.1:1 --dest-prefix=a --no-dest-prefix'),
  step('check perf --load=z'),
  step('check datascale --load=z'),
  step('defrag -w json'),
  step('lease grant 100'),
  step('lease keep-alive {L1}', { stopAfterLines: 1 }),
  step('lease timetolive'),
  step('lease timetolive zz'),
  step('lease timetolive {L1}', { mask: REMAINING }),
  step('lease timetolive ffffffffffffffffff'),
  step('lease timetolive -- -1'),
  step('lease revoke 0'),
  step('put a 1 --lease=0x12'),
  ...inFormats('compaction 1', 'KV/Compact'),
];

/** What `command` prints in every writer, where it has no protobuf to be read. */
function inWriters(command: (index: number) => string, more: Omit<shared.Step, 'args'> = {}): shared.Step[] {
  return FORMATS.map((format, index) => step(`${command(index + 1)} -w ${format}`, more));
}

const HASHES = [/^[0-9a-f]+,/g, /"hash":\d+|"totalSize":\d+/g, /"(Hash|Size)" : \d+/g, /│ +[0-9a-f]+ │/g];

/** What the other chapters leave: each command in each writer, also where it is refused. */
const WRITERS: shared.Step[] = [
  step('put a 1'),
  ...inWriters(() => 'version'),
  ...FORMATS.map(() => step('lease grant 100')),
  ...inFormats('lease revoke {L1}', 'Lease/LeaseRevoke').map((each, index) => ({
    ...each,
    args: each.args.map((arg) => arg.replace('{L1}', `{L${index + 1}}`)),
  })),
  step('watch b a -w protobuf', { message: 'Watch/Watch' }),
  ...inWriters(() => 'check perf --load=z'),
  ...inWriters(() => 'check datascale --load=z'),
  ...inWriters(() => 'defrag'),
  ...inWriters(() => 'make-mirror'),
  ...inWriters(() => 'member promote 77'),
  ...inFormats('move-leader {MEMBER}', 'Maintenance/MoveLeader'),
  ...inWriters(() => 'snapshot save {DIRECTORY}/snapshot.db'),
  ...inWriters(() => 'snapshot status {DIRECTORY}/snapshot.db', { mask: HASHES }),
  ...inWriters(() => 'snapshot restore /no/such/file --data-dir=/no/such/folder'),
  ...inWriters(() => 'auth enable'),
  step('user add alice:pw'),
  ...inFormats('user passwd alice --interactive=false', 'Auth/AuthUserChangePassword', { stdin: 'newpw\n' }).map(
    (each) => ({ ...each, ...(each.message === undefined ? {} : { message: 'Auth/UserChangePassword' }) }),
  ),
  // What is refused after the member was added or removed has done it all the same.
  ...(['simple', 'json', 'fields', 'table'] as const).flatMap((format, index) => [
    step(`member add learner --learner --peer-urls=http://127.0.0.1:1${index} -w ${index === 1 ? 'json' : 'simple'}`, {
      mask: [...NEW_MEMBER, /ETCD_INITIAL_CLUSTER="[^"]*"/g, /"members":\[.*\]/g],
    }),
    step(`member remove {M${index + 1}} -w ${format}`, { mask: NEW_MEMBER }),
  ]),
  step('member remove 77 -w protobuf'),
  ...(['fields', 'protobuf', 'table'] as const).map((format, index) =>
    step(`member add learner --learner --peer-urls=http://127.0.0.1:2${index} -w ${format}`, {
      mask: NEW_MEMBER,
      ...protobuf(format, 'Cluster/MemberAdd'),
    }),
  ),
];

const HOLDER = [
  ...LEASE_KEYS,
  /"lease":\d+/g,
  /"key":"[^"]*"/g,
  /"Lease" : \d+/g,
  /"(create_|mod_)?revision":\d+/g,
  /"(Create|Mod)?Revision" : \d+/g,
];

/**
 * A writer that refuses does so after the key was written: etcdctl leaves it to its lease, so names are used once, while
 * etsdctl removes it, so revisions are not compared.
 */
const HOLDERS: shared.Step[] = ['elect', 'lock'].flatMap((command) =>
  FORMATS.map((format) =>
    step(`${command} ${command}-${format}${command === 'elect' ? ' me' : ''} -w ${format}`, {
      stopAfterLines: format === 'fields' ? 12 : 1,
      mask: HOLDER,
    }),
  ),
);

const { CHECK_PERF: _aMinute, ...usual } = shared.CHAPTERS;

export const CHAPTERS: Record<string, shared.Step[]> = {
  ...usual,
  USERS,
  AUTHENTICATED,
  MEMBERS,
  COMMAND_LINES,
  BYTES,
  CONCURRENCY,
  REST,
  WRITERS,
  HOLDERS,
};
