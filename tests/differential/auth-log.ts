/**
 * Logs of requests by users who may do this and that, as bytes: what etcd is given to start from, and what our state
 * applies. The requests are drawn from so few names and keys that they meet.
 */
import { type Prng, U64_ZERO, u64FromNumber } from '@etsd/base';
import {
  AuthPermission,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddOptions,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  Compare,
  DeleteRangeRequest,
  InternalAuthenticateRequest,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  PutRequest,
  RaftRequestField,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '@etsd/proto';
import type { AuthStore } from '@etsd/state';

export interface LoggedRequest {
  readonly user: string;
  readonly authRevision: number;
  readonly field: number;
  readonly body: Buffer;
}

const USERS = ['root', 'ann', 'bob', 'cem', ''];
const ROLES = ['root', 'reads', 'writes', 'both', ''];
const KEYS = ['a', 'b', 'ba', 'c', 'd', 'e'];
const ENDS = ['', '', '', 'b', 'c', 'e', 'f', '\0'];
const HASHES = ['', 'cGFzcw==', 'cGFzcw', 'JDJhJDEw', 'not base 64', 'YQ=='];
const bytes = (text: string) => Buffer.from(text, 'latin1');

export class RequestMaker {
  private readonly random: Prng;
  private readonly hashes: readonly string[];
  private readonly password: string;

  /** `hashes`: what users are given, in base 64 or not; `password`: in clear, for who asks the API. */
  constructor(random: Prng, hashes: readonly string[] = HASHES, password = '') {
    this.random = random;
    this.hashes = hashes;
    this.password = password;
  }

  /** What makes authentication worth having: root, three users, three roles, and it is turned on. */
  static beginning(password = ''): LoggedRequest[] {
    const made: LoggedRequest[] = [];
    const add = (field: number, body: Buffer) => made.push({ user: '', authRevision: 0, field, body });
    for (const name of ['root', 'ann', 'bob', 'cem']) {
      const request = AuthUserAddRequest.create({ name, password, hashedPassword: 'cGFzcw==' });
      add(RaftRequestField.AuthUserAdd, AuthUserAddRequest.encode(request));
    }
    for (const name of ['reads', 'writes', 'both']) {
      add(RaftRequestField.AuthRoleAdd, AuthRoleAddRequest.encode(AuthRoleAddRequest.create({ name })));
    }
    for (const [user, role] of [
      ['root', 'root'],
      ['ann', 'reads'],
      ['bob', 'writes'],
      ['cem', 'both'],
    ] as const) {
      const request = AuthUserGrantRoleRequest.create({ user, role });
      add(RaftRequestField.AuthUserGrantRole, AuthUserGrantRoleRequest.encode(request));
    }
    for (const [name, permType, key, rangeEnd] of [
      ['reads', 0, 'a', 'd'],
      ['writes', 1, 'b', 'e'],
      ['both', 2, 'c', '\0'],
    ] as const) {
      const perm = AuthPermission.create({ permType, key: bytes(key), rangeEnd: bytes(rangeEnd) });
      const request = AuthRoleGrantPermissionRequest.create({ name, perm });
      add(RaftRequestField.AuthRoleGrantPermission, AuthRoleGrantPermissionRequest.encode(request));
    }
    add(RaftRequestField.AuthEnable, Buffer.alloc(0));
    return made;
  }

  /** Permissions for one role, more than anybody would give it, with few keys and many ends. */
  manyPermissions(name: string, count: number): LoggedRequest[] {
    const made: LoggedRequest[] = [];
    const add = (field: number, body: Buffer) => made.push({ user: 'root', authRevision: 0, field, body });
    add(RaftRequestField.AuthRoleAdd, AuthRoleAddRequest.encode(AuthRoleAddRequest.create({ name })));
    while (made.length <= count) {
      const rangeEnd = bytes(`x${this.random.below(1000)}`);
      const perm = AuthPermission.create({ permType: this.one([0, 1, 2]), key: this.key(), rangeEnd });
      const request = AuthRoleGrantPermissionRequest.create({ name, perm });
      add(RaftRequestField.AuthRoleGrantPermission, AuthRoleGrantPermissionRequest.encode(request));
    }
    return made;
  }

  /**
   * A request by anybody, who is known as of about `authRevision`; by nobody who was deleted, whom etcd 3.5 still knows
   * until its next commit: it looks users up where deletions come late.
   */
  make(auth: AuthStore): LoggedRequest {
    const { random } = this;
    const authRevision = auth.revision;
    const isChange = random.below(4) === 0;
    // Most changes come from root, so that most are made; everybody else tries too.
    const wanted = isChange && random.below(8) > 0 ? 'root' : this.one(USERS);
    const user = wanted === '' || auth.user(wanted) !== undefined ? wanted : 'nobody';
    const offset = this.one([0, 0, 0, 0, 0, 0, 0, 0, 1, -1]);
    const known = random.below(20) === 0 ? 0 : Math.max(0, authRevision + offset);
    const [field, body] = isChange ? this.change() : this.use();
    return { user, authRevision: known, field, body };
  }

  private one<T>(all: readonly T[]): T {
    return all[this.random.below(all.length)] as T;
  }

  /** One of the requests of the Auth service: its field in an entry, and its body. */
  change(): [number, Buffer] {
    const { random, password } = this;
    const name = this.one(USERS);
    const role = this.one(ROLES);
    const hashedPassword = this.one(this.hashes);
    switch (random.below(16)) {
      case 0:
      case 1: {
        const options = this.one([null, AuthUserAddOptions.create(), AuthUserAddOptions.create({ noPassword: true })]);
        const request = AuthUserAddRequest.create({ name, password, hashedPassword, options });
        return [RaftRequestField.AuthUserAdd, AuthUserAddRequest.encode(request)];
      }
      case 2:
        return [RaftRequestField.AuthUserDelete, AuthUserDeleteRequest.encode(AuthUserDeleteRequest.create({ name }))];
      case 3: {
        const request = AuthUserChangePasswordRequest.create({ name, password, hashedPassword });
        return [RaftRequestField.AuthUserChangePassword, AuthUserChangePasswordRequest.encode(request)];
      }
      case 4:
      case 5:
      case 6: {
        const request = AuthUserGrantRoleRequest.create({ user: name, role });
        return [RaftRequestField.AuthUserGrantRole, AuthUserGrantRoleRequest.encode(request)];
      }
      case 7: {
        const request = AuthUserRevokeRoleRequest.create({ name, role });
        return [RaftRequestField.AuthUserRevokeRole, AuthUserRevokeRoleRequest.encode(request)];
      }
      case 8:
        return [RaftRequestField.AuthRoleAdd, AuthRoleAddRequest.encode(AuthRoleAddRequest.create({ name: role }))];
      case 9:
        return [RaftRequestField.AuthRoleDelete, AuthRoleDeleteRequest.encode(AuthRoleDeleteRequest.create({ role }))];
      case 10:
        return random.below(4) === 0
          ? [RaftRequestField.AuthDisable, Buffer.alloc(0)]
          : [RaftRequestField.AuthEnable, Buffer.alloc(0)];
      case 11: {
        const request = AuthRoleRevokePermissionRequest.create({ role, key: this.key(), rangeEnd: this.end() });
        return [RaftRequestField.AuthRoleRevokePermission, AuthRoleRevokePermissionRequest.encode(request)];
      }
      case 12: {
        const request = InternalAuthenticateRequest.create({ name, simpleToken: 'abc' });
        return [RaftRequestField.Authenticate, InternalAuthenticateRequest.encode(request)];
      }
      case 13:
        return [RaftRequestField.AuthUserGet, AuthUserGetRequest.encode(AuthUserGetRequest.create({ name }))];
      default:
        return [RaftRequestField.AuthRoleGrantPermission, AuthRoleGrantPermissionRequest.encode(this.grant(role))];
    }
  }

  private grant(name: string): AuthRoleGrantPermissionRequest {
    const key = this.random.below(20) === 0 ? Buffer.alloc(0) : this.key();
    const perm = AuthPermission.create({ permType: this.one([0, 1, 2, 2, 3]), key, rangeEnd: this.end() });
    return AuthRoleGrantPermissionRequest.create({ name, perm: this.random.below(20) === 0 ? null : perm });
  }

  private key(): Buffer {
    return bytes(this.one(KEYS));
  }

  private end(): Buffer {
    return bytes(this.one(ENDS));
  }

  private lease(): string {
    return this.random.below(3) > 0 ? U64_ZERO : u64FromNumber(1 + this.random.below(2));
  }

  private use(): [number, Buffer] {
    switch (this.random.below(10)) {
      case 0:
        return [
          RaftRequestField.LeaseGrant,
          LeaseGrantRequest.encode(
            LeaseGrantRequest.create({ ID: u64FromNumber(1 + this.random.below(2)), TTL: 9000 }),
          ),
        ];
      case 1: {
        if (this.random.below(3) > 0) return [RaftRequestField.Put, PutRequest.encode(this.put())];
        const request = LeaseRevokeRequest.create({ ID: u64FromNumber(1 + this.random.below(2)) });
        return [RaftRequestField.LeaseRevoke, LeaseRevokeRequest.encode(request)];
      }
      case 2:
        return [RaftRequestField.DeleteRange, DeleteRangeRequest.encode(this.remove())];
      case 3:
      case 4:
      case 5:
      case 6:
        return [RaftRequestField.Txn, TxnRequest.encode(this.txn(2))];
      default:
        return [RaftRequestField.Put, PutRequest.encode(this.put())];
    }
  }

  private put(): PutRequest {
    const value = bytes(`${this.random.below(1000)}`);
    return PutRequest.create({ key: this.key(), value, lease: this.lease(), prevKv: this.random.below(3) === 0 });
  }

  /** Never one that ends before it begins: etcd's answer to these depends on the shape of its trees. */
  private remove(): DeleteRangeRequest {
    const key = this.key();
    const end = this.end();
    const rangeEnd = end.length === 0 || end[0] === 0 || key.compare(end) < 0 ? end : Buffer.alloc(0);
    return DeleteRangeRequest.create({ key, rangeEnd, prevKv: this.random.below(3) === 0 });
  }

  /** Without ranges at the outermost level, which etcd 3.5 leaves out, unchecked, where nobody waits for the answer. */
  private txn(depth: number): TxnRequest {
    const compare = [];
    if (this.random.below(2) === 0) {
      const { key, rangeEnd } = this.remove();
      compare.push(Compare.create({ key, rangeEnd, target: 0, result: 1, version: 0 }));
    }
    return TxnRequest.create({ compare, success: this.ops(depth), failure: this.ops(depth) });
  }

  private ops(depth: number): RequestOp[] {
    const ops: RequestOp[] = [];
    const keys = new Set<string>();
    for (let count = this.random.below(3); count > 0; count--) {
      const kind = this.random.below(8);
      if (kind < 4) {
        const requestPut = this.put();
        if (keys.has(requestPut.key.toString())) continue;
        keys.add(requestPut.key.toString());
        ops.push(RequestOp.create({ requestPut }));
      } else if (kind < 6) ops.push(RequestOp.create({ requestDeleteRange: this.remove() }));
      else if (depth > 1) ops.push(RequestOp.create({ requestTxn: this.txn(depth - 1) }));
      else if (depth === 1) {
        const { key, rangeEnd } = this.remove();
        ops.push(RequestOp.create({ requestRange: RangeRequest.create({ key, rangeEnd }) }));
      }
    }
    return ops;
  }
}
