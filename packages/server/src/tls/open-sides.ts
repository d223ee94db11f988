/** Both sides' TLS as the flags say, with certificates made where that is asked for. */

import { X509Certificate } from 'node:crypto';
import type { Logger } from '@etsd/base';
import type { World } from '@etsd/runtime';
import type { MemberConfig } from '../config/config.ts';
import { isSecure } from '../config/validate-tls.ts';
import type { Endpoint } from '../config/values.ts';
import { filesOf } from './credentials.ts';
import { makeSelfSigned } from './self-signed.ts';
import { TlsSide } from './side.ts';
import { clientSide, peerSide, type SideFlags } from './side-flags.ts';

/** Null: this side speaks no TLS. */
export interface TlsSides {
  readonly clients: TlsSide | null;
  readonly peers: TlsSide | null;
}

export async function openTlsSides(world: World, config: MemberConfig, logger: Logger): Promise<TlsSides> {
  warnOfPlain(config, logger);
  const clientUrls = [...config.listenClientUrls, ...config.listenClientHttpUrls, ...config.listenMetricsUrls];
  const own = new Sides(world, config, logger);
  const peers = await own.open(peerSide(config), config.listenPeerUrls, config.peerAutoTls);
  return { peers, clients: await own.open(clientSide(config), clientUrls, config.autoTls) };
}

class Sides {
  private readonly world: World;
  private readonly config: MemberConfig;
  private readonly logger: Logger;

  constructor(world: World, config: MemberConfig, logger: Logger) {
    this.world = world;
    this.config = config;
    this.logger = logger;
  }

  async open(flags: SideFlags, endpoints: readonly Endpoint[], isAuto: boolean): Promise<TlsSide | null> {
    const listens = endpoints.some(isSecure);
    // Members may be dialled over https by one that is itself reached in the clear.
    if (!listens && (flags.side === 'client' || filesOf(flags).length === 0)) return null;
    const { side, cert } = flags;
    if (isAuto && cert.path !== '') this.logger.log('warn', `ignoring ${side} auto TLS since certs given`);
    const used = listens && isAuto && cert.path === '' ? await this.made(flags, endpoints) : flags;
    this.logger.log('info', `starting with ${side} TLS`, {
      'tls-info': infoOf(used),
      'cipher-suites': this.config.cipherSuites,
    });
    if (used.allowedCommonNames.length + used.allowedHostnames.length > 0 && !used.requireCertificate) {
      this.logger.log('warn', 'names are demanded of certificates, but no certificate is', {
        side,
        advice: `Give ${used.ca.flag}.`,
      });
    }
    return await TlsSide.open(this.world, this.logger, used);
  }

  /** The certificate made at an earlier start, or a new one. */
  private async made(flags: SideFlags, endpoints: readonly Endpoint[]): Promise<SideFlags> {
    const { disk, clock, random } = this.world;
    const directory = `${this.config.dataDir}/fixtures/${flags.side}`;
    const cert = { ...flags.cert, path: `${directory}/cert.pem` };
    const key = { ...flags.key, path: `${directory}/key.pem` };
    const { side, peerFlags } = { side: flags.side, peerFlags: { ...flags, cert, key, isSelfSigned: true } };
    if (await this.isUsable(cert.path, key.path)) return peerFlags;
    await disk.makeDirectory(directory);
    const {
      certificate,
      key: secret,
      notAfterMs,
    } = makeSelfSigned({
      hosts: endpoints.map(({ host }) => host),
      nowMs: clock.wallMs(),
      years: this.config.selfSignedCertYears,
      serial: random.bytes(16),
    });
    this.logger.log('warn', 'automatically generate certificates', {
      side,
      'certificate-validity-bound-not-after': new Date(notAfterMs).toISOString(),
    });
    await disk.writeFileAtomic(cert.path, Buffer.from(certificate));
    this.logger.log('info', 'created cert file', { path: cert.path });
    await disk.writeFileAtomic(key.path, Buffer.from(secret));
    this.logger.log('info', 'created key file', { path: key.path });
    return peerFlags;
  }

  /** Whether both files are there and the certificate has not ended. */
  private async isUsable(certPath: string, keyPath: string): Promise<boolean> {
    const { disk, clock } = this.world;
    if ((await disk.stat(certPath)) === null || (await disk.stat(keyPath)) === null) return false;
    const { validTo } = new X509Certificate(await disk.readFile(certPath));
    return Date.parse(validTo) > clock.wallMs();
  }
}

/** In etcd's words. */
function infoOf({ cert, key, dialCert, dialKey, ca, crl, requireCertificate }: SideFlags): string {
  const shown = dialCert.path === '' ? cert.path : dialCert.path;
  const secret = dialKey.path === '' ? key.path : dialKey.path;
  return `cert = ${cert.path}, key = ${key.path}, client-cert=${shown}, client-key=${secret}, trusted-ca = ${ca.path}, client-cert-auth = ${requireCertificate}, crl-file = ${crl.path}`;
}

/** Flags about TLS beside addresses without it. */
function warnOfPlain(config: MemberConfig, logger: Logger): void {
  const sides = [
    { label: 'peer-url', endpoints: config.listenPeerUrls, cert: config.peerCertFile, auth: config.peerClientCertAuth },
    { label: 'client-url', endpoints: config.listenClientUrls, cert: config.certFile, auth: config.clientCertAuth },
  ];
  for (const { label, endpoints, cert, auth } of sides) {
    const flag = label === 'peer-url' ? '--peer-client-cert-auth' : '--client-cert-auth';
    for (const endpoint of endpoints) {
      if (isSecure(endpoint)) continue;
      const fields = { [label]: endpoint.url };
      if (cert !== '') {
        logger.log('warn', 'scheme is HTTP while key and cert files are present; ignoring key and cert files', fields);
      }
      if (auth) {
        logger.log('warn', `scheme is HTTP while ${flag} is enabled; ignoring client cert auth for this URL`, fields);
      }
    }
  }
}
