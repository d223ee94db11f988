/**
 * `etcdserverpb.InternalRaftRequest`, the content of a log entry, around a client's request that is carried as it came:
 *
 *   │ tag, length │ body: the client's bytes │ tag 100, length │ id, username, auth revision │
 *
 * Fields stand in ascending order as etcd writes them, so the kinds above 100 have the header before the body.
 */
import { keyFromBytes } from '@etsd/base';
import {
  copyBytes,
  halvesSize,
  lengthDelimitedSize,
  varintSize,
  WIRE_BYTES,
  writeHalves,
  writeString,
  writeVarint,
} from '../wire.ts';
import { sharedReader } from './reader.ts';

const HEADER_FIELD = 100;

/** Field numbers of `InternalRaftRequest`: what a log entry asks for. */
export const RaftRequestField = {
  None: 0,
  V2: 2,
  Range: 3,
  Put: 4,
  DeleteRange: 5,
  Txn: 6,
  Compaction: 7,
  LeaseGrant: 8,
  LeaseRevoke: 9,
  Alarm: 10,
  LeaseCheckpoint: 11,
  AuthEnable: 1000,
  AuthDisable: 1011,
  Authenticate: 1012,
  AuthStatus: 1013,
  AuthUserAdd: 1100,
  AuthUserDelete: 1101,
  AuthUserGet: 1102,
  AuthUserChangePassword: 1103,
  AuthUserGrantRole: 1104,
  AuthUserRevokeRole: 1105,
  AuthUserList: 1106,
  AuthRoleList: 1107,
  AuthRoleAdd: 1200,
  AuthRoleDelete: 1201,
  AuthRoleGet: 1202,
  AuthRoleGrantPermission: 1203,
  AuthRoleRevokePermission: 1204,
  ClusterVersionSet: 1300,
  ClusterMemberAttrSet: 1301,
  DowngradeInfoSet: 1302,
  DowngradeVersionTest: 9900,
} as const;

function headerSize(idHigh: number, idLow: number, username: string, authRevision: number): number {
  let size = (idHigh | idLow) === 0 ? 0 : 1 + halvesSize(idHigh, idLow);
  if (username !== '') size += 1 + lengthDelimitedSize(Buffer.byteLength(username, 'utf8'));
  if (authRevision !== 0) size += 1 + varintSize(authRevision);
  return size;
}

function writeHeader(
  target: Buffer,
  offset: number,
  length: number,
  idHigh: number,
  idLow: number,
  username: string,
  authRevision: number,
): number {
  target[offset] = 0xa2;
  target[offset + 1] = 0x06;
  let at = writeVarint(target, offset + 2, length);
  if ((idHigh | idLow) !== 0) {
    target[at++] = 0x08;
    at = writeHalves(target, at, idHigh, idLow);
  }
  if (username !== '') {
    target[at++] = 0x12;
    at = writeString(target, at, username);
  }
  if (authRevision !== 0) {
    target[at++] = 0x18;
    at = writeVarint(target, at, authRevision);
  }
  return at;
}

function writeBody(target: Buffer, offset: number, tag: number, body: Buffer, start: number, end: number): number {
  let at = writeVarint(target, offset, tag);
  at = writeVarint(target, at, end - start);
  return copyBytes(target, at, body, start, end);
}

/**
 * A new buffer with the request `body[bodyStart, bodyEnd)` of the kind `field` (a `RaftRequestField`), under the request
 * id given as two 32-bit halves.
 */
export function writeRaftRequest(
  field: number,
  body: Buffer,
  bodyStart: number,
  bodyEnd: number,
  idHigh: number,
  idLow: number,
  username: string,
  authRevision: number,
): Buffer {
  const tag = field * 8 + WIRE_BYTES;
  const headerLength = headerSize(idHigh, idLow, username, authRevision);
  const bodyFieldSize = varintSize(tag) + lengthDelimitedSize(bodyEnd - bodyStart);
  const target = Buffer.allocUnsafe(bodyFieldSize + 2 + lengthDelimitedSize(headerLength));
  if (field < HEADER_FIELD) {
    const at = writeBody(target, 0, tag, body, bodyStart, bodyEnd);
    writeHeader(target, at, headerLength, idHigh, idLow, username, authRevision);
  } else {
    const at = writeHeader(target, 0, headerLength, idHigh, idLow, username, authRevision);
    writeBody(target, at, tag, body, bodyStart, bodyEnd);
  }
  return target;
}

/**
 * What a log entry asks for, and where in its bytes the request is. Reusable. Entries of etcd 3.5 may be a bare
 * `Request` of its version 2 instead; they are known by their method name, which stands where a sub-message would.
 */
export class RaftRequestView {
  /** A `RaftRequestField`; `None` if there is no request in it that we know. */
  field = 0;
  /** The request's bytes. For `V2` they are an `etcdserverpb.Request`, bare or wrapped. */
  bodyStart = 0;
  bodyEnd = 0;
  idHigh = 0;
  idLow = 0;
  username = '';
  authRevision = 0;

  /** Finds only where the request is, in an entry that `writeRaftRequest` made for this `field`; false if it is not one. */
  findBody(data: Buffer, field: number): boolean {
    const reader = sharedReader;
    reader.reset(data, 0, data.length);
    if (reader.tag() !== field * 8 + WIRE_BYTES) return false;
    this.bodyEnd = reader.span();
    this.bodyStart = reader.spanStart;
    return true;
  }

  parse(data: Buffer): void {
    const reader = sharedReader;
    reader.reset(data, 0, data.length);
    this.field = this.bodyStart = this.bodyEnd = 0;
    this.idHigh = this.idLow = this.authRevision = 0;
    this.username = '';
    let ownHigh = 0;
    let ownLow = 0;
    while (reader.at < reader.end) {
      const tag = reader.tag();
      if (tag === 0x08) {
        reader.halves();
        ownHigh = reader.high >>> 0;
        ownLow = reader.low >>> 0;
      } else if (tag === HEADER_FIELD * 8 + WIRE_BYTES) {
        const outer = reader.enter();
        this.parseHeader();
        reader.leave(outer);
      } else if ((tag & 7) === WIRE_BYTES && tag >>> 3 !== 1) {
        const end = reader.span();
        if (tag === 0x12 && isV2Method(data, reader.spanStart, end)) {
          this.becomeV2(data, ownHigh, ownLow);
          return;
        }
        if (this.field === 0 && isRequestField(tag >>> 3)) {
          this.field = tag >>> 3;
          this.bodyStart = reader.spanStart;
          this.bodyEnd = end;
        }
      } else {
        reader.skip(tag);
      }
    }
    if ((ownHigh | ownLow) !== 0) {
      this.idHigh = ownHigh;
      this.idLow = ownLow;
    }
  }

  private parseHeader(): void {
    const reader = sharedReader;
    while (reader.at < reader.end) {
      const tag = reader.tag();
      if (tag === 0x08) {
        reader.halves();
        this.idHigh = reader.high >>> 0;
        this.idLow = reader.low >>> 0;
      } else if (tag === 0x12) {
        this.username = reader.string();
      } else if (tag === 0x18) {
        this.authRevision = reader.uint();
      } else {
        reader.skip(tag);
      }
    }
  }

  private becomeV2(data: Buffer, idHigh: number, idLow: number): void {
    this.field = RaftRequestField.V2;
    this.bodyStart = 0;
    this.bodyEnd = data.length;
    this.idHigh = idHigh;
    this.idLow = idLow;
    this.username = '';
    this.authRevision = 0;
  }
}

const requestFields = new Set<number>(Object.values(RaftRequestField));

function isRequestField(field: number): boolean {
  return field <= 11 || requestFields.has(field);
}

const V2_METHODS = ['PUT', 'POST', 'DELETE', 'QGET', 'SYNC'];

function isV2Method(data: Buffer, start: number, end: number): boolean {
  if (end - start < 3 || end - start > 6) return false;
  return V2_METHODS.includes(keyFromBytes(data, start, end));
}
