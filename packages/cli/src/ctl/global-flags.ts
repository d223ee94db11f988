import { type Flag, flag } from './flags.ts';

/** Of etsdctl and etsdutl. */
export const COMPAT_FLAG = flag('compat', 'string', '3.5', 'print results as this version of etcd does: 3.5 or 3.6');

/** What every command understands. */
export const GLOBAL_FLAGS: readonly Flag[] = [
  flag('auth-jwt-token', 'string', '', 'show this token instead of logging in'),
  flag('cacert', 'string', '', 'verify the servers with the authorities in this file (PEM)'),
  flag('cert', 'string', '', 'identify yourself with this certificate (PEM)'),
  flag('command-timeout', 'duration', '5s', 'how long a short command may take'),
  COMPAT_FLAG,
  flag('debug', 'bool', 'false', 'print the settings in use on the error output'),
  flag('dial-timeout', 'duration', '2s', 'how long connecting to an endpoint may take'),
  flag('discovery-srv', 'string', '', 'domain whose SRV records name the endpoints', 'd'),
  flag('discovery-srv-name', 'string', '', 'suffix of the service name in those records'),
  flag('endpoints', 'list', '127.0.0.1:2379', 'where the members listen, with commas between'),
  flag('hex', 'bool', 'false', 'print keys and values in hexadecimal'),
  flag('insecure-discovery', 'bool', 'true', 'accept endpoints without TLS from SRV records'),
  flag('insecure-skip-tls-verify', 'bool', 'false', 'accept any server certificate (for tests only)'),
  flag('insecure-transport', 'bool', 'true', 'do without TLS where the endpoint does not ask for it'),
  flag('keepalive-time', 'duration', '2s', 'silence after which a connection is probed'),
  flag('keepalive-timeout', 'duration', '6s', 'how long the probe may take'),
  flag('key', 'string', '', 'private key of --cert (PEM)'),
  flag('max-recv-bytes', 'uint', '0', 'accepted, as since 3.6; answers of any size are taken'),
  flag('max-request-bytes', 'uint', '0', 'accepted, as since 3.6; the server has its own bound'),
  flag('password', 'string', '', 'password of --user, which then holds the name only'),
  flag('user', 'string', '', 'log in as NAME or NAME:PASSWORD; asks for the password where it is missing'),
  flag('write-out', 'string', 'simple', 'format of results: simple, json, fields, protobuf or table', 'w'),
];

export const HELP_FLAG = flag('help', 'bool', 'false', 'show help', 'h');
