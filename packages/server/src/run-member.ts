import type { World } from '@etsd/runtime';
import { startCommands } from './archive/member-archive.ts';
import type { CommandRunner } from './archive/sender.ts';
import { openTokens } from './auth-parts.ts';
import { checkFirstStart } from './bootstrap/first-start.ts';
import type { MemberConfig } from './config/config.ts';
import { openDataDirectory } from './data-directory.ts';
import { MemberKeys } from './encryption/member-keys.ts';
import { openAuditSink } from './guard/member-guard.ts';
import { Gate, withBoundPorts } from './listeners.ts';
import { type Gates, RunningMember } from './member.ts';
import type { Member, MemberParts } from './member-parts.ts';
import { openTlsSides, type TlsSides } from './tls/open-sides.ts';

/**
 * Runs one member made of these parts; resolves when clients are served. Rejects with an `OperatorError` on what the
 * operator can mend.
 */
export async function runMember(given: MemberParts): Promise<Member> {
  const { world: plainWorld, logger } = given;
  const keys = await MemberKeys.open(given);
  const world = keys?.world ?? plainWorld;
  const tls = await openTlsSides(world, given.config, logger);
  const gates = await bindGates(world, given.config, tls);
  const config = withBoundPorts(given.config, gates.clients);
  const parts: MemberParts = { ...given, world, config };
  try {
    await checkFirstStart(parts);
    // Keys that can not be used are told before anything is made on disk.
    const tokens = await openTokens(world, logger, config.authToken, config.authTokenTtlSeconds);
    const auditSink = await openAuditSink(world, config.guard.audit);
    const directory = await openDataDirectory(world, config, logger, parts.loadBackend);
    let commands: CommandRunner | null = null;
    try {
      commands = startCommands(parts);
      const member = await RunningMember.open(parts, directory, gates, { tokens, auditSink, commands, keys });
      await member.serve();
      return member;
    } catch (error) {
      commands?.close();
      await directory.lock.release();
      throw error;
    }
  } catch (error) {
    keys?.stop();
    await gates.clients.close();
    await gates.peers.close();
    throw error;
  }
}

async function bindGates(world: World, config: MemberConfig, tls: TlsSides): Promise<Gates> {
  const peers = await Gate.forPeers(world, config, tls.peers);
  try {
    return { tls, peers, clients: await Gate.forClients(world, config, tls.clients) };
  } catch (error) {
    await peers.close();
    throw error;
  }
}
