import { ErrorCode } from './errors.ts';
import { DEFAULT_WINDOW, MAX_WINDOW, readU32, writeU32 } from './frame.ts';

/** Parameters of RFC 9113 §6.5.2. */
export const SettingId = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** Bytes of one parameter on the wire. */
export const SETTING_BYTES = 6;

/** The other side's parameters, at their initial values until it says otherwise. */
export class PeerSettings {
  headerTableSize = 4096;
  maxConcurrentStreams = 0xffff_ffff;
  initialWindowSize = DEFAULT_WINDOW;
  maxFrameSize = 16_384;
  maxHeaderListSize = 0xffff_ffff;

  /**
   * Takes over a SETTINGS payload. Returns NO_ERROR, or the connection error it means. Unknown parameters are ignored;
   * of one given twice the last counts.
   */
  update(bytes: Buffer, start: number, end: number, peerIsServer: boolean): ErrorCode {
    for (let at = start; at < end; at += SETTING_BYTES) {
      const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      const error = this.set(id, readU32(bytes, at + 2), peerIsServer);
      if (error !== ErrorCode.NO_ERROR) return error;
    }
    return ErrorCode.NO_ERROR;
  }

  private set(id: number, value: number, peerIsServer: boolean): ErrorCode {
    switch (id) {
      case SettingId.HEADER_TABLE_SIZE:
        this.headerTableSize = value;
        break;
      case SettingId.ENABLE_PUSH:
        // A server may say 0 only (RFC 9113 §6.5.2): pushing towards it does not exist.
        if (value > 1 || (peerIsServer && value !== 0)) return ErrorCode.PROTOCOL_ERROR;
        break;
      case SettingId.MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        break;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) return ErrorCode.FLOW_CONTROL_ERROR;
        this.initialWindowSize = value;
        break;
      case SettingId.MAX_FRAME_SIZE:
        if (value < 16_384 || value > 0xff_ffff) return ErrorCode.PROTOCOL_ERROR;
        this.maxFrameSize = value;
        break;
      case SettingId.MAX_HEADER_LIST_SIZE:
        this.maxHeaderListSize = value;
        break;
      default:
        break;
    }
    return ErrorCode.NO_ERROR;
  }
}

/** Writes one parameter and returns the offset behind it. */
export function writeSetting(target: Buffer, offset: number, id: number, value: number): number {
  target[offset] = id >>> 8;
  target[offset + 1] = id;
  return writeU32(target, offset + 2, value);
}
