/** How the outcomes of calls look over HTTP. */
import { GrpcCode, jsonString, SPACED } from '@etsd/proto';

/** By gRPC's codes; what is not here is 500. */
const HTTP_STATUS: Readonly<Record<number, number>> = {
  [GrpcCode.OK]: 200,
  [GrpcCode.Canceled]: 499,
  [GrpcCode.InvalidArgument]: 400,
  [GrpcCode.DeadlineExceeded]: 504,
  [GrpcCode.NotFound]: 404,
  [GrpcCode.AlreadyExists]: 409,
  [GrpcCode.PermissionDenied]: 403,
  [GrpcCode.Unauthenticated]: 401,
  [GrpcCode.ResourceExhausted]: 429,
  [GrpcCode.FailedPrecondition]: 400,
  [GrpcCode.Aborted]: 409,
  [GrpcCode.OutOfRange]: 400,
  [GrpcCode.Unimplemented]: 501,
  [GrpcCode.Unavailable]: 503,
};

export function httpStatusOf(code: number): number {
  return HTTP_STATUS[code] ?? 500;
}

/** An error as the answer to a single call. */
export function errorBody(code: number, message: string): string {
  return `{"code":${code}${SPACED.comma}"message":${jsonString(message, SPACED)}}`;
}

const CONTROLS = /[^\t\x20-\x7e\x80-\xff]+/g;

/** A text made fit to be a header's value. */
export function headerText(text: string): string {
  return text.replace(CONTROLS, ' ');
}
