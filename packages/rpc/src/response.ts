import { decodeStatusMessage } from './grpc/status.ts';
import type { HeaderBlock } from './hpack/decoder.ts';
import { type Field, FieldKind } from './hpack/table.ts';
import { Encoding, encodingOf, isGrpcContentType } from './request.ts';

/** A response's header block or trailers, read once per distinct block; never changed afterwards. */
export class Response {
  readonly fields: readonly Field[];
  malformed = false;
  tooLarge: boolean;
  /** `:status`, 0 in trailers. */
  status = 0;
  contentType: string | null = null;
  encoding: Encoding = Encoding.IDENTITY;
  encodingName = '';
  /** −1: not given. */
  grpcStatus = -1;
  grpcMessage = '';

  constructor(block: HeaderBlock) {
    this.fields = block.fields;
    this.tooLarge = block.tooLarge;
    let regular = false;
    for (const field of block.fields) {
      if (field.name.charCodeAt(0) === 0x3a) {
        if (regular || this.status !== 0 || field.kind !== FieldKind.STATUS || !/^[1-5]\d\d$/.test(field.value)) {
          this.malformed = true;
        } else this.status = Number(field.value);
      } else {
        regular = true;
        this.regular(field);
      }
    }
  }

  get isGrpc(): boolean {
    return isGrpcContentType(this.contentType);
  }

  private regular(field: Field): void {
    switch (field.kind) {
      case FieldKind.MALFORMED:
      case FieldKind.CONNECTION_SPECIFIC:
        this.malformed = true;
        break;
      case FieldKind.CONTENT_TYPE:
        this.contentType ??= field.value;
        break;
      case FieldKind.GRPC_ENCODING:
        this.encodingName = field.value;
        this.encoding = encodingOf(field.value);
        break;
      case FieldKind.GRPC_STATUS:
        this.grpcStatus = /^\d{1,9}$/.test(field.value) ? Number(field.value) : 2;
        break;
      case FieldKind.GRPC_MESSAGE:
        this.grpcMessage = decodeStatusMessage(field.value);
        break;
      default:
        break;
    }
  }
}
