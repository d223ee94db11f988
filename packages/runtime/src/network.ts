/**
 * Where to listen or what to dial. TCP by host and port (port 0 lets the system choose), or a unix socket by path.
 */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Certificates and checks of a TLS endpoint. PEM texts; how they are loaded and reloaded is the caller's matter. */
export interface TlsOptions {
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** Authorities accepted for the other side's certificate. Absent: the system's. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  readonly crl?: string | Buffer | readonly (string | Buffer)[];
  readonly ciphers?: string;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** Protocols offered (dial) or accepted, best first (listen). */
  readonly alpn?: readonly string[];
  /** Listening: ask clients for a certificate and refuse those without a valid one. */
  readonly requireClientCertificate?: boolean;
  /** Listening: what a client's certificate must stand beyond the authorities; an error refuses the client. */
  readonly checkClient?: (certificate: PeerCertificate, remoteAddress: string) => CheckOutcome | Promise<CheckOutcome>;
  /** Dialling: the same of the server's certificate, where it is checked at all. */
  readonly checkServer?: (certificate: PeerCertificate) => CheckOutcome;
  /** Dialling: the name the server's certificate must carry; default the host dialled. */
  readonly serverName?: string;
  /** Dialling: accept any certificate. */
  readonly insecureSkipVerify?: boolean;
  /**
   * Listening: asked at every connection; another object than last time means other certificates, keys and authorities
   * from here on. Options that cannot be used are reported as a warning and the last good ones stay.
   */
  readonly current?: () => TlsOptions;
  /**
   * Listening: awaited before handshakes, so that `current` tells of files as they are when a client comes. Must not
   * reject, and must not wait for long: nobody shakes hands meanwhile.
   */
  readonly renew?: () => Promise<void>;
}

/** Null: nothing is against this certificate. */
export type CheckOutcome = Error | null;

/** Bounds of what has not shown yet who it is. Whoever goes over one is disconnected. */
export interface HandshakeLimits {
  /** Connections whose handshake is not done: in all … */
  readonly pending: number;
  /** … and from one address (of IPv6: one network of 64 bits). */
  readonly pendingOfOneAddress: number;
  /** Handshakes under way, which hold keys and buffers; more have to wait their turn, each address in turn. */
  readonly underWay: number;
  /**
   * Handshakes that one address may have a second, a fifth of them at once if it has rested; further ones wait. Each that
   * comes to nothing counts as four: it failed, or its connection ended before it was `asked`. While an address has a
   * quarter of so many connections open, or more, that were not asked, it has a tenth of the pace. 0: no bound.
   */
  readonly perSecondOfOneAddress: number;
  /** From accept to the client's complete hello, and from there to the end of the handshake. */
  readonly timeoutMs: number;
  /** Time that handshakes may take of the event loop before others get twice as much. */
  readonly sliceMs: number;
}

/** What a TLS handshake agreed on. */
export interface TlsAgreement {
  /** `TLSv1.3` or `TLSv1.2`. */
  readonly version: string;
  /** By its name in the standards, such as `TLS_AES_128_GCM_SHA256`. */
  readonly cipher: string;
  /** Of the key exchange, such as `X25519MLKEM768`; '' where there was none that has a name. */
  readonly group: string;
  /** An earlier session goes on. */
  readonly isResumed: boolean;
}

/** Why a connection did not get through its handshake. */
export type HandshakeRefusal =
  | 'overload'
  | 'timeout'
  | 'not-tls'
  | 'protocol'
  | 'hang-up'
  | 'no-certificate'
  | 'bad-certificate'
  | 'not-allowed';

/** Hears how handshakes go. */
export interface HandshakeWatcher {
  agreed(remoteAddress: string, agreement: TlsAgreement): void;
  refused(remoteAddress: string, serverName: string, refusal: HandshakeRefusal, error: Error): void;
  /** A connection is in, one of so many of its address that have asked for nothing that its next ones have to wait. */
  slowed?(remoteAddress: string): void;
}

/** How many connections are at which point. */
export interface HandshakeCounts {
  /** Connected, handshake not done. */
  readonly pending: number;
  /** Of these: handshake begun. */
  readonly underWay: number;
}

/** Whether anything is to be made of a connection from this address; asked of TCP connections before anything is. */
export type Admits = (address: string) => boolean;

export interface ListenOptions {
  readonly tls?: TlsOptions;
  /** Connections that are not admitted are closed at once, for a third of what it costs to accept and close one. */
  readonly admits?: Admits;
  /** Connections the kernel queues before they are accepted. */
  readonly backlog?: number;
  /** Several processes may listen on the port (SO_REUSEPORT). */
  readonly reusePort?: boolean;
  /** With TLS. What is absent has its default. */
  readonly handshakes?: Partial<HandshakeLimits>;
  readonly handshakeWatcher?: HandshakeWatcher;
  /** Access bits of a unix socket's file. */
  readonly mode?: number;
}

export interface DialOptions {
  readonly tls?: TlsOptions;
  /** Default 20 000 ms for TCP and TLS together. */
  readonly connectTimeoutMs?: number;
}

/** What the TLS handshake told about the other side. */
export interface PeerCertificate {
  readonly commonName: string;
  readonly subjectAltNames: readonly string[];
  /** DER bytes. */
  readonly raw: Buffer;
  /** The same of those that vouch for it, up to the root, as far as they are known. */
  readonly issuers: readonly Buffer[];
}

/** The owner of a socket; every callback runs on the event loop, never inside a call into the socket but `closed`. */
export interface SocketReceiver {
  /** The connection stands (TLS: handshake done). Sockets from a listener are born open and do not call it. */
  opened?(): void;
  /** Bytes came. `bytes[start, end)` is valid during the call only: the buffer is shared by all sockets. */
  data(bytes: Buffer, start: number, end: number): void;
  /** The buffer of the last `write` that returned false belongs to the caller again. */
  written(): void;
  /** The other side will send nothing more. */
  ended(): void;
  /** The socket is gone; exactly once, the last callback. */
  closed(error: Error | null): void;
}

/**
 * A byte stream. Writing is done one buffer at a time, so that whoever writes gathers what belongs together and sees
 * when the kernel does not keep up: there is no queue inside.
 */
export interface Socket {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly encrypted: boolean;
  /** Protocol agreed on by TLS, '' where none was. */
  readonly alpn: string;
  /** The client's or server's certificate, checked against `ca`; null without TLS or certificate. */
  readonly peerCertificate: PeerCertificate | null;
  /** Starts the flow of callbacks; exactly once, before anything else. */
  start(receiver: SocketReceiver): void;
  /**
   * Writes `bytes[start, end)`. True: the kernel has taken all of it and the buffer is free. False: the buffer must stay
   * untouched until `written`; another write before that is a bug.
   */
  write(bytes: Buffer, start: number, end: number): boolean;
  pause(): void;
  resume(): void;
  /** Sends what was written, then our end of the stream. */
  end(): void;
  /** Ends it now, both ways; `closed` follows. */
  destroy(error?: Error): void;
  /** Its client has asked for something: the handshake was not for nothing. Works after `detach`, too. */
  asked(): void;
  /**
   * Expect a steady stream for one owner: reads go into one buffer shared by all sockets instead of a fresh one each.
   * Until this is called (or on platforms and kinds of sockets where it does nothing) the socket can be detached.
   */
  commitToFastReads(): void;
  /**
   * Lets go of the platform's own socket object (node:net's), for a foreign protocol handler. It is paused: bytes already
   * seen are the caller's to push back (`unshift`) before it is given its handler and resumed. No callback follows here,
   * not even `closed`.
   */
  detach(): unknown;
}

export interface Listener {
  /** The address really bound. */
  readonly address: SocketAddress;
  /** With TLS only. */
  readonly handshakes?: HandshakeCounts;
  /** Accepts no more; resolves when the port is free. Sockets already accepted live on. */
  close(): Promise<void>;
}

/** TCP, unix and TLS streams. */
export interface Network {
  /** Listens; `onSocket` is called with each open connection (TLS: after its handshake). */
  listen(address: SocketAddress, options: ListenOptions, onSocket: (socket: Socket) => void): Promise<Listener>;
  /** Begins to connect; the outcome is `opened` or `closed` of the receiver. */
  dial(address: SocketAddress, options?: DialOptions): Socket;
}
