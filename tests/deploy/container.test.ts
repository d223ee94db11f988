/**
 * Goal: the image can be built from its file, runs as nobody of importance, and its settings are etsd's; three members of the
 * Compose file are one cluster. Method: a linter reads the Dockerfile; etsd's own parser reads flags and variables. The
 * steps that npm takes in it are taken in npm-package.test.ts.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { validate } from 'dockerfile-utils';
import { parse } from 'yaml';
import { ROOT } from '../support/binaries.ts';
import { settingsOf } from './settings.ts';

const DOCKERFILE = readFileSync(join(ROOT, 'deploy/docker/Dockerfile'), 'utf8');

/** Instructions of the last stage: what is in the image. */
function instructions(): [name: string, text: string][] {
  const lines = DOCKERFILE.replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n');
  const all = lines
    .filter((line) => line.trim() !== '')
    .map((line): [string, string] => {
      const at = line.indexOf(' ');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    });
  return all.slice(all.findLastIndex(([name]) => name === 'FROM'));
}

const value = (name: string): string => instructions().findLast(([each]) => each === name)?.[1] ?? '';

/** What the image gives to etsd where nobody says anything. */
const words = (): string[] => JSON.parse(value('CMD')) as string[];

test('the linter finds nothing in the Dockerfile, and would', () => {
  assert.deepEqual(validate(DOCKERFILE), []);
  assert.notDeepEqual(validate('FROM a\nCMD ["x"]\nCMD ["y"]\nEXPOSE many\n'), []);
});

test('the image runs as nobody of importance, with what it needs and health to ask for', () => {
  const [user, group] = value('USER').split(':').map(Number);
  assert.ok((user ?? 0) >= 10_000 && (group ?? 0) >= 10_000, 'a number, for runAsNonRoot to see');
  assert.equal(value('ENTRYPOINT'), '["etsd"]');
  const config = settingsOf(words());
  assert.ok(!DOCKERFILE.includes('ETCD_'), 'variables of the image would contradict flags of a manifest');
  assert.equal(config.dataDir, value('VOLUME'));
  const ports = [...config.listenClientUrls, ...config.listenPeerUrls, ...config.listenMetricsUrls].map(
    ({ port }) => port,
  );
  assert.deepEqual(value('EXPOSE').split(' ').map(Number), ports);
  assert.ok(value('HEALTHCHECK').includes(`:${config.listenMetricsUrls[0]?.port}/readyz`));
  // Copied from the stage that builds, and from nowhere else.
  for (const [name, text] of instructions()) if (name === 'COPY') assert.match(text, /^--from=build /);
});

test('what the health check runs is JavaScript that ends', async () => {
  const command = JSON.parse(value('HEALTHCHECK').slice(value('HEALTHCHECK').indexOf('['))) as string[];
  assert.deepEqual(command.slice(0, 2), ['node', '-e']);
  for (const [isOk, code] of [
    [true, 0],
    [false, 1],
    [null, 1],
  ] as const) {
    const exit = new Promise<number>((resolve) => {
      const ask = (): Promise<{ ok: boolean }> =>
        isOk === null ? Promise.reject(new Error('refused')) : Promise.resolve({ ok: isOk });
      new Function('fetch', 'process', command[2] as string)(ask, { exit: resolve });
    });
    assert.equal(await exit, code);
  }
});

test('three members of the Compose file are one cluster', () => {
  const path = join(ROOT, 'deploy/docker/compose.yaml');
  const { services, volumes } = parse(readFileSync(path, 'utf8'), { merge: true }) as {
    services: Record<
      string,
      {
        environment: Record<string, string>;
        volumes: string[];
        command: string[];
        build: { context: string; dockerfile: string };
        hostname: string;
        read_only: boolean;
      }
    >;
    volumes: Record<string, unknown>;
  };
  const clusters = new Set<string>();
  for (const [name, service] of Object.entries(services)) {
    assert.deepEqual(service.command, []);
    const config = settingsOf([], service.environment);
    // Health is asked for where the image's own flags would serve it.
    assert.deepEqual(config.listenMetricsUrls, settingsOf(words()).listenMetricsUrls);
    assert.equal(config.name, name);
    assert.equal(service.hostname, name);
    assert.deepEqual(config.initialCluster.get(name), config.initialAdvertisePeerUrls);
    clusters.add(JSON.stringify([...config.initialCluster, config.initialClusterToken]));
    const [volume, mounted] = service.volumes[0]?.split(':') ?? [];
    assert.ok(volume !== undefined && Object.hasOwn(volumes, volume) && mounted === config.dataDir);
    assert.ok(service.read_only);
    assert.ok(existsSync(join(ROOT, 'deploy/docker', service.build.context, service.build.dockerfile)));
  }
  assert.equal(Object.keys(services).length, 3);
  assert.equal(clusters.size, 1);
});

test('the settings beside the unit of systemd are those of a member of three', () => {
  const config = settingsOf(['--config-file', join(ROOT, 'deploy/systemd/etsd.conf.yml')]);
  assert.equal(config.initialCluster.size, 3);
  const unit = readFileSync(join(ROOT, 'deploy/systemd/etsd.service'), 'utf8');
  assert.equal(config.dataDir, `/var/lib/${/^StateDirectory=(.*)$/m.exec(unit)?.[1]}`);
  const [, ...words] = (/^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '').split(' ');
  assert.deepEqual(words, ['--config-file=/etc/etsd/etsd.conf.yml']);
});
