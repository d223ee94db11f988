/**
 * Goal: what is given to Kubernetes is what Kubernetes takes, and what is given to etsd in it is what etsd takes. Method: each
 * manifest, also the chart with all its switches, goes through the validators made of Kubernetes' own schemas, and as a
 * literal of their types through the compiler, which finds fields that no schema knows. Arguments go through etsd's parser.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProgram } from '@etsd/testkit';
import { StatefulSet } from 'kubernetes-models/apps/v1/StatefulSet';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { Pod } from 'kubernetes-models/v1/Pod';
import { Service } from 'kubernetes-models/v1/Service';
import { plainManifests, readChart } from '../../scripts/render-manifests.ts';
import { NODE, ROOT } from '../support/binaries.ts';
import { documents, renderChart, TemplateError, Templates } from './go-template.ts';
import { settingsOf } from './settings.ts';

type Manifest = Record<string, unknown>;
interface Container {
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly [probe: string]: unknown;
}
interface PodSpec {
  readonly containers: readonly [Container];
  readonly volumes: readonly { readonly name: string }[];
}

const CONTROL_PLANE = join(ROOT, 'deploy/kubernetes/control-plane');
const STATIC_POD = readFileSync(join(CONTROL_PLANE, 'etsd-static-pod.yaml'), 'utf8')
  .replaceAll('NODE_ADDRESS', '10.0.0.1')
  .replaceAll('NODE_NAME', 'node-1');

const chart = readChart();

/** The chart with other values, as a name for each. */
const VALUES: Readonly<Record<string, Manifest>> = {
  'its own values': {},
  'one member without anything': {
    replicas: 1,
    antiAffinity: 'none',
    topologyKey: '',
    podDisruptionBudget: { enabled: false },
  },
  everything: {
    replicas: 5,
    image: { repository: 'registry.example/etsd', tag: 'v9', pullPolicy: 'Always' },
    imagePullSecrets: [{ name: 'pull' }],
    clusterState: 'existing',
    clusterToken: 'orders',
    flags: { 'snapshot-count': '100000', 'max-request-bytes': '33554432' },
    tls: { clientSecret: 'clients', peerSecret: 'peers' },
    persistence: { size: '20Gi', storageClass: 'local-ssd' },
    antiAffinity: 'preferred',
    nodeSelector: { disk: 'ssd' },
    tolerations: [{ key: 'store', operator: 'Exists', effect: 'NoSchedule' }],
    priorityClassName: 'system-cluster-critical',
    podAnnotations: { 'example.org/note': 'a: b' },
    podLabels: { team: 'store' },
    serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  },
};

function rendered(values: Manifest): Map<string, Manifest[]> {
  const files = renderChart(chart, { Name: 'etsd', Namespace: 'stores' }, values);
  files.delete('NOTES.txt');
  return new Map([...files].map(([name, text]) => [name, documents(text)]));
}

const manifestsOf = (values: Manifest): Manifest[] => [...rendered(values).values()].flat();

const MODELS = { Pod, PodDisruptionBudget, Service, StatefulSet } as const;

function kindOf(manifest: Manifest): keyof typeof MODELS {
  const kind = String(manifest['kind']) as keyof typeof MODELS;
  assert.ok(Object.hasOwn(MODELS, kind), `no schema for ${kind}`);
  assert.equal(manifest['apiVersion'], MODELS[kind].apiVersion);
  return kind;
}

function podSpecOf(manifest: Manifest): PodSpec {
  const { spec } = manifest as { spec: PodSpec & { template?: { spec: PodSpec } } };
  return spec.template?.spec ?? spec;
}

const withoutMonitors = (manifests: Manifest[]): Manifest[] =>
  manifests.filter(({ kind }) => kind !== 'ServiceMonitor');

const ALL: readonly (readonly [name: string, manifests: readonly Manifest[]])[] = [
  ...Object.entries(VALUES).map(
    ([name, values]) => [`chart with ${name}`, withoutMonitors(manifestsOf(values))] as const,
  ),
  ['deploy/kubernetes/etsd.yaml', documents(readFileSync(join(ROOT, 'deploy/kubernetes/etsd.yaml'), 'utf8'))],
  ['the static pod', documents(STATIC_POD)],
];

for (const [name, manifests] of ALL) {
  test(`${name}: valid by the schemas of Kubernetes`, () => {
    for (const manifest of manifests) new MODELS[kindOf(manifest)](manifest as never).validate();
  });

  test(`${name}: etsd takes its arguments, probes and mounts name what is there`, () => {
    for (const manifest of manifests.filter(({ kind }) => kind === 'StatefulSet' || kind === 'Pod')) {
      const { containers, volumes } = podSpecOf(manifest);
      const [container] = containers;
      const config = settingsOf(container.args.map((word) => word.replaceAll('$(POD_NAME)', 'etsd-0')));
      const ports = new Map(container.ports.map((port) => [port.name, port.containerPort]));
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
        const { httpGet } = container[probe] as { httpGet: { path: string; port: string } };
        assert.match(httpGet.path, /^\/(?:livez|readyz)$/);
        assert.equal(
          ports.get(httpGet.port),
          config.listenMetricsUrls[0]?.port,
          `${probe} asks where health is served`,
        );
      }
      const claims = manifest['kind'] === 'StatefulSet' ? ['data'] : [];
      const known = [...volumes.map((volume) => volume.name), ...claims].sort();
      assert.deepEqual(container.volumeMounts.map((mount) => mount.name).sort(), known);
      const paths = container.volumeMounts.map((mount) => mount.mountPath);
      for (const word of container.args.filter((each) => /^--(?:data-dir|.*-file)=/.test(each))) {
        const path = word.slice(word.indexOf('=') + 1);
        assert.ok(
          paths.some((mounted) => path === mounted || path.startsWith(`${mounted}/`)),
          `${path} is mounted`,
        );
      }
    }
  });
}

test('the compiler finds no field that Kubernetes does not know, and would', () => {
  const cache = join(ROOT, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'manifests-'));
  try {
    const imports = Object.entries(MODELS).map(([kind, { apiVersion }]) => {
      const group = apiVersion.includes('/') ? apiVersion : 'v1';
      return `import type { I${kind} } from 'kubernetes-models/${group}/${kind}';\n`;
    });
    const literals = ALL.flatMap(([, manifests]) => manifests).map(
      (manifest, at) => `export const m${at}: I${kindOf(manifest)} = ${JSON.stringify(manifest)};\n`,
    );
    const wrong = `// @ts-expect-error\nexport const wrong: IService = { apiVersion: 'v1', kind: 'Service', spec: { port: [] } };\n`;
    writeFileSync(join(folder, 'manifests.ts'), [...imports, ...literals, wrong].join(''));
    const words = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'esnext',
      '--types',
      '',
      '--skipLibCheck',
    ];
    const { status, stdout } = spawnSync(
      NODE,
      [join(ROOT, 'node_modules/typescript/bin/tsc'), '--ignoreConfig', ...words, join(folder, 'manifests.ts')],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the plain manifests are those that the chart renders', () => {
  assert.equal(readFileSync(join(ROOT, 'deploy/kubernetes/etsd.yaml'), 'utf8'), plainManifests());
});

test('three members name each other as their service does, and a majority may not be taken away', () => {
  for (const [replicas, minAvailable] of [
    [1, 1],
    [3, 2],
    [5, 3],
    [7, 4],
  ] as const) {
    const files = rendered({ replicas });
    const set = files.get('statefulset.yaml')?.[0] as Manifest;
    const { spec } = set as unknown as { spec: { serviceName: string } };
    const services = files.get('services.yaml') ?? [];
    const names = services.map((service) => (service['metadata'] as { name: string }).name);
    assert.ok(names.includes(spec.serviceName));
    const config = settingsOf(
      podSpecOf(set).containers[0].args.map((word) => word.replaceAll('$(POD_NAME)', 'etsd-0')),
    );
    assert.equal(config.initialCluster.size, replicas);
    const last = `etsd-${replicas - 1}`;
    const url = `http://${last}.${spec.serviceName}.stores.svc.cluster.local:2380`;
    assert.deepEqual(config.initialCluster.get(last), [url]);
    const budget = files.get('poddisruptionbudget.yaml')?.[0] as unknown as { spec: { minAvailable: number } };
    assert.equal(budget.spec.minAvailable, minAvailable);
  }
});

test('the monitor finds the port of the service it selects', () => {
  const files = rendered(VALUES['everything'] as Manifest);
  const monitor = files.get('servicemonitor.yaml')?.[0] as unknown as {
    spec: { selector: { matchLabels: Record<string, string> }; endpoints: { port: string }[] };
  };
  const found = (files.get('services.yaml') ?? []).filter((service) => {
    const { labels } = service['metadata'] as { labels: Record<string, string> };
    return Object.entries(monitor.spec.selector.matchLabels).every(([name, value]) => labels[name] === value);
  }) as unknown as { spec: { ports: { name: string }[] } }[];
  assert.equal(found.length, 1);
  assert.ok(found[0]?.spec.ports.some(({ name }) => name === monitor.spec.endpoints[0]?.port));
});

test('values have a schema that knows each of them', () => {
  const schema = JSON.parse(readFileSync(join(ROOT, 'deploy/helm/etsd/values.schema.json'), 'utf8')) as {
    properties: Record<string, { properties?: Record<string, unknown> }>;
  };
  const { global, ...known } = schema.properties;
  assert.ok(global !== undefined, 'Helm adds it where the chart is part of another');
  assert.deepEqual(Object.keys(known).sort(), Object.keys(chart.values).sort());
  for (const [name, { properties }] of Object.entries(known)) {
    if (properties === undefined) continue;
    assert.deepEqual(Object.keys(chart.values[name] as Manifest).sort(), Object.keys(properties).sort(), name);
  }
});

test('what the chart may not say is told', () => {
  const render = (source: string): string => {
    const templates = new Templates();
    return templates.render(templates.add(source), { a: { b: 1 } }, new Map());
  };
  assert.equal(render('x {{- if .a.b }} y {{ else }} z {{ end -}} \n w'), 'x y w');
  assert.throws(() => render('{{ .c.d }}'), TemplateError);
  assert.throws(() => render('{{ sha256sum .a }}'), TemplateError);
  assert.throws(() => render('{{ if .a }}'), TemplateError);
});

/** Helm's way with the same files: Go's own templates, the functions of sprig, two of Helm's. */
const GO_PROGRAM = `package main
import ("bytes"; "encoding/json"; "os"; "path/filepath"; "sort"; "strings"; "text/template"; "github.com/Masterminds/sprig"; "gopkg.in/yaml.v2")
func main() {
  var root map[string]interface{}
  if err := json.NewDecoder(os.Stdin).Decode(&root); err != nil { panic(err) }
  t := template.New("chart")
  f := sprig.TxtFuncMap()
  f["toYaml"] = func(v interface{}) string { b, _ := yaml.Marshal(v); return strings.TrimSuffix(string(b), "\\n") }
  f["include"] = func(n string, d interface{}) (string, error) { var b bytes.Buffer; err := t.ExecuteTemplate(&b, n, d); return b.String(), err }
  t.Funcs(f)
  names, _ := filepath.Glob(os.Args[1] + "/*")
  sort.Strings(names)
  for _, n := range names { s, _ := os.ReadFile(n); template.Must(t.New(filepath.Base(n)).Parse(string(s))) }
  out := map[string]string{}
  for _, n := range names { if base := filepath.Base(n); base[0] != '_' { var b bytes.Buffer; if err := t.ExecuteTemplate(&b, base, root); err != nil { panic(err) }; out[base] = b.String() } }
  json.NewEncoder(os.Stdout).Encode(out)
}
`;
const SPRIG = '/usr/share/gocode/src/github.com/Masterminds/sprig';

function noGo(): string | false {
  if (findProgram('go') === null) return 'no go';
  return spawnSync('test', ['-d', SPRIG]).status !== 0 && 'no golang-github-masterminds-sprig-dev';
}

test("Go's own templates render the same", { skip: noGo(), timeout: 300_000 }, () => {
  const cache = join(ROOT, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'go-templates-'));
  try {
    writeFileSync(join(folder, 'main.go'), GO_PROGRAM);
    const env = { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOCACHE: join(folder, 'cache') };
    const built = spawnSync('go', ['build', '-o', join(folder, 'render'), join(folder, 'main.go')], {
      env,
      encoding: 'utf8',
    });
    assert.equal(built.status, 0, built.stderr);
    const release = { Name: 'orders', Namespace: 'stores' };
    for (const [name, over] of Object.entries(VALUES)) {
      const ours = renderChart(chart, release, over);
      const root = rootOf(release, over);
      const theirs = spawnSync(join(folder, 'render'), [join(ROOT, 'deploy/helm/etsd/templates')], {
        input: JSON.stringify(root),
        encoding: 'utf8',
      });
      assert.equal(theirs.status, 0, theirs.stderr);
      for (const [file, text] of Object.entries(JSON.parse(theirs.stdout) as Record<string, string>)) {
        if (file === 'NOTES.txt') assert.equal(ours.get(file), text, `${file} with ${name}`);
        else assert.deepEqual(documents(ours.get(file) ?? ''), documents(text), `${file} with ${name}`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function rootOf(release: Manifest, over: Manifest): Manifest {
  const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
  return {
    Chart: Object.fromEntries(Object.entries(chart.chart).map(([name, value]) => [capital(name), value])),
    Release: { Service: 'Helm', ...release },
    Values: mergedValues(over),
  };
}

function mergedValues(over: Manifest): Manifest {
  const result: Manifest = { ...chart.values };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    const isMap = (each: unknown): boolean => typeof each === 'object' && each !== null && !Array.isArray(each);
    result[key] = isMap(before) && isMap(value) ? { ...(before as Manifest), ...(value as Manifest) } : value;
  }
  return result;
}

test('kubeadm is pointed to members over TLS', () => {
  const [config] = documents(readFileSync(join(CONTROL_PLANE, 'kubeadm-external.yaml'), 'utf8'));
  const { etcd } = config as unknown as {
    etcd: { external: { endpoints: string[]; caFile: string; certFile: string; keyFile: string } };
  };
  assert.equal(etcd.external.endpoints.length, 3);
  for (const endpoint of etcd.external.endpoints) assert.equal(new URL(endpoint).protocol, 'https:');
  assert.deepEqual(readdirSync(CONTROL_PLANE).sort(), ['etsd-static-pod.yaml', 'kubeadm-external.yaml']);
});
