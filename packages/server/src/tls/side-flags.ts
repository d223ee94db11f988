import type { MemberConfig } from '../config/config.ts';
import { cipherList } from './cipher-suites.ts';

/** A file of a flag; the path is empty where none was given. */
export interface FlagFile {
  readonly flag: string;
  readonly path: string;
}

/** What the flags say of one side of a member: towards clients, or towards other members. */
export interface SideFlags {
  readonly side: 'client' | 'peer';
  readonly cert: FlagFile;
  readonly key: FlagFile;
  /** Authorities of the other side. Empty: it is not asked for a certificate, or it is checked against the system's. */
  readonly ca: FlagFile;
  readonly crl: FlagFile;
  /** Shown where this member dials; empty: the same as where it listens. */
  readonly dialCert: FlagFile;
  readonly dialKey: FlagFile;
  readonly requireCertificate: boolean;
  /** A certificate of the other side must have one of these names, if there are any. */
  readonly allowedCommonNames: readonly string[];
  readonly allowedHostnames: readonly string[];
  /** Whether who connects must come from an address that its certificate names. */
  readonly checksAddress: boolean;
  /** The certificates vouch for themselves, so nobody can check them. */
  readonly isSelfSigned: boolean;
  /** What a dialled server is called, where it is not its host. */
  readonly serverName: string;
  readonly ciphers: string;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3';
}

/** What clients are shown and asked for. */
export function clientSide(config: MemberConfig): SideFlags {
  return {
    side: 'client',
    cert: { flag: '--cert-file', path: config.certFile },
    key: { flag: '--key-file', path: config.keyFile },
    ca: { flag: '--trusted-ca-file', path: config.trustedCaFile },
    crl: { flag: '--client-crl-file', path: config.clientCrlFile },
    dialCert: { flag: '--client-cert-file', path: config.clientCertFile },
    dialKey: { flag: '--client-key-file', path: config.clientKeyFile },
    requireCertificate: config.clientCertAuth || config.trustedCaFile !== '',
    allowedCommonNames: [],
    allowedHostnames: config.clientCertAllowedHostnames,
    checksAddress: false,
    isSelfSigned: false,
    serverName: '',
    ...common(config),
  };
}

/** What other members are shown and asked for. */
export function peerSide(config: MemberConfig): SideFlags {
  return {
    side: 'peer',
    cert: { flag: '--peer-cert-file', path: config.peerCertFile },
    key: { flag: '--peer-key-file', path: config.peerKeyFile },
    ca: { flag: '--peer-trusted-ca-file', path: config.peerTrustedCaFile },
    crl: { flag: '--peer-crl-file', path: config.peerCrlFile },
    dialCert: { flag: '--peer-client-cert-file', path: config.peerClientCertFile },
    dialKey: { flag: '--peer-client-key-file', path: config.peerClientKeyFile },
    requireCertificate: config.peerClientCertAuth || config.peerTrustedCaFile !== '',
    allowedCommonNames: config.peerCertAllowedCommonNames,
    allowedHostnames: config.peerCertAllowedHostnames,
    checksAddress: !config.peerSkipClientSanVerification,
    isSelfSigned: false,
    // Members found through records and certified by the system's authorities are certified for the domain, as with etcd.
    serverName: config.peerTrustedCaFile === '' ? config.discoverySrv : '',
    ...common(config),
  };
}

function common(config: MemberConfig): Pick<SideFlags, 'ciphers' | 'minVersion' | 'maxVersion'> {
  return {
    ciphers: cipherList(config.cipherSuites),
    minVersion: config.tlsMinVersion === 'TLS1.3' ? 'TLSv1.3' : 'TLSv1.2',
    maxVersion: config.tlsMaxVersion === 'TLS1.2' ? 'TLSv1.2' : 'TLSv1.3',
  };
}
