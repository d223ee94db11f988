/**
 * Writes `deploy/grafana/etsd.json`: `node scripts/gen-dashboard.ts`. The panels stand here as a table, since Grafana's own form
 * takes a hundred lines for what is a title, a unit and a few queries.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const DASHBOARD_FILE = join(import.meta.dirname, '../deploy/grafana/etsd.json');

/** Chosen at the top of the page: the cluster. */
const OF = 'job="$cluster"';
const RATE = '[$__rate_interval]';

interface Query {
  readonly expr: string;
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  /** One of Grafana's units. */
  readonly unit: string;
  readonly what: string;
  readonly queries: readonly Query[];
  /** One number instead of a curve. */
  readonly isNumber?: boolean;
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

function panel(
  title: string,
  unit: string,
  what: string,
  ...queries: (readonly [expr: string, legend: string])[]
): Panel {
  return { title, unit, what, queries: queries.map(([expr, legend]) => ({ expr, legend })) };
}

function number(title: string, unit: string, what: string, expr: string): Panel {
  return { title, unit, what, queries: [{ expr, legend: '' }], isNumber: true };
}

const rate = (name: string, labels = ''): string => `rate(${name}{${OF}${labels}}${RATE})`;
const p99 = (name: string, by: string): string =>
  `histogram_quantile(0.99, sum by (${by}, le) (${rate(`${name}_bucket`)}))`;
const streams = (service: string): string =>
  `sum by (instance) (grpc_server_started_total{${OF},grpc_service="${service}",grpc_type="bidi_stream"}) - ` +
  `sum by (instance) (grpc_server_handled_total{${OF},grpc_service="${service}",grpc_type="bidi_stream"})`;

export const ROWS: readonly Row[] = [
  {
    title: 'The cluster',
    panels: [
      number('Members up', 'none', 'Members that Prometheus reaches.', `sum(up{${OF}})`),
      number('All know a leader', 'none', '1 while every member does.', `min(etcd_server_has_leader{${OF}})`),
      number(
        'Changes of leader, 1 day',
        'none',
        'More than a few mean slow disks or a bad network.',
        `max(changes(etcd_server_leader_changes_seen_total{${OF}}[1d]))`,
      ),
      number('Keys', 'short', 'Keys that exist.', `max(etcd_debugging_mvcc_keys_total{${OF}})`),
      number('Quota used', 'percentunit', 'Of the fullest member, by live data.', `max(etsd_quota_used_ratio{${OF}})`),
      number('In quarantine', 'none', 'Members that differ from the majority.', `sum(etsd_quarantined{${OF}})`),
    ],
  },
  {
    title: 'Clients',
    panels: [
      panel(
        'Calls',
        'ops',
        'Calls of one answer, and those of them that failed.',
        [`sum(${rate('grpc_server_started_total', ',grpc_type="unary"')})`, 'started'],
        [`sum(${rate('grpc_server_handled_total', ',grpc_type="unary",grpc_code!="OK"')})`, 'failed'],
      ),
      panel('Calls by method', 'ops', 'What clients ask for.', [
        `sum by (grpc_method) (${rate('grpc_server_started_total')}) > 0`,
        '{{grpc_method}}',
      ]),
      panel('Time of a call, 99 %', 's', 'From one call in 64 of each method; from all with --metrics extensive.', [
        p99('etsd_rpc_sampled_seconds', 'grpc_method'),
        '{{grpc_method}}',
      ]),
      panel('Slow requests', 'ops', 'Those that the log tells of, with the time split by cause.', [
        rate('etsd_slow_requests_total'),
        '{{instance}}',
      ]),
      panel(
        'Event loop held by a call',
        's',
        'How long the handler of a method keeps everybody else waiting, on average.',
        [
          `sum by (grpc_method) (${rate('etsd_rpc_sampled_held_seconds_total')}) / sum by (grpc_method) (${rate('etsd_rpc_sampled_seconds_count')})`,
          '{{grpc_method}}',
        ],
      ),
      panel(
        'Open streams',
        'short',
        'Streams of watches and of leases that are kept alive.',
        [streams('etcdserverpb.Watch'), 'watch {{instance}}'],
        [streams('etcdserverpb.Lease'), 'lease {{instance}}'],
      ),
      panel(
        'Watchers',
        'short',
        'Those that keep up, and those fed from history.',
        [`etcd_debugging_mvcc_watcher_total{${OF}}`, 'all {{instance}}'],
        [`etcd_debugging_mvcc_slow_watcher_total{${OF}}`, 'behind {{instance}}'],
      ),
      panel('Furthest watcher behind', 'short', 'In revisions.', [`etsd_watch_lag_revisions{${OF}}`, '{{instance}}']),
      panel(
        'Traffic of clients',
        'Bps',
        'Bytes of messages.',
        [rate('etcd_network_client_grpc_received_bytes_total'), 'in {{instance}}'],
        [rate('etcd_network_client_grpc_sent_bytes_total'), 'out {{instance}}'],
      ),
      panel('Connections', 'short', 'Of clients, open now.', [`etsd_client_connections{${OF}}`, '{{instance}}']),
      panel(
        'Waiting and refused',
        'short',
        'Requests put off for a quieter turn, and refused because too many waited.',
        [`etsd_requests_waiting{${OF}}`, 'waiting {{instance}}'],
        [`sum by (lane) (${rate('etsd_requests_refused_total')})`, 'refused a second: {{lane}}'],
      ),
      panel('Abuse', 'ops', 'What was refused because no client should do it.', [
        `sum by (kind) (${rate('etsd_abuse_total')})`,
        '{{kind}}',
      ]),
    ],
  },
  {
    title: 'Agreement',
    panels: [
      panel(
        'Proposals',
        'ops',
        'What goes through the log.',
        [rate('etcd_server_proposals_committed_total'), 'committed {{instance}}'],
        [rate('etcd_server_proposals_applied_total'), 'applied {{instance}}'],
        [rate('etcd_server_proposals_failed_total'), 'failed {{instance}}'],
      ),
      panel('Proposals that wait', 'short', 'Sent to the log and not applied yet.', [
        `etcd_server_proposals_pending{${OF}}`,
        '{{instance}}',
      ]),
      panel('Who leads', 'short', '1 for the member that does.', [`etcd_server_is_leader{${OF}}`, '{{instance}}']),
      panel('Elections, 1 day', 'short', 'Changes of leader as each member saw them.', [
        `changes(etcd_server_leader_changes_seen_total{${OF}}[1d])`,
        '{{instance}}',
      ]),
      panel('Round trip among members, 99 %', 's', 'Every write waits for the second fastest.', [
        p99('etcd_network_peer_round_trip_time_seconds', 'instance, To'),
        '{{instance}} to {{To}}',
      ]),
      panel(
        'Traffic among members',
        'Bps',
        'Bytes to and from the other members.',
        [`sum by (instance) (${rate('etcd_network_peer_received_bytes_total')})`, 'in {{instance}}'],
        [`sum by (instance) (${rate('etcd_network_peer_sent_bytes_total')})`, 'out {{instance}}'],
      ),
      panel(
        'Reads and heartbeats in trouble',
        'ops',
        'Rounds for linearizable reads that failed or took too long; heartbeats that were late.',
        [rate('etcd_server_read_indexes_failed_total'), 'failed {{instance}}'],
        [rate('etcd_server_slow_read_indexes_total'), 'slow {{instance}}'],
        [rate('etcd_server_heartbeat_send_failures_total'), 'heartbeats {{instance}}'],
      ),
      panel('Compared', 'short', 'Entries of the log that were not yet compared among the members.', [
        `etcd_server_proposals_applied_total{${OF}} - etsd_compared_index{${OF}}`,
        '{{instance}}',
      ]),
    ],
  },
  {
    title: 'Disk and store',
    panels: [
      panel(
        'Disk sync, 99 %',
        's',
        'Of the log, for which writes wait, and of the store, for which nobody does.',
        [p99('etcd_disk_wal_fsync_duration_seconds', 'instance'), 'log {{instance}}'],
        [p99('etcd_disk_backend_commit_duration_seconds', 'instance'), 'store {{instance}}'],
      ),
      panel(
        'Oldest write not on disk',
        's',
        'The watchdog: beyond an election time-out the member gives up its office.',
        [`etsd_wal_oldest_unfinished_sync_seconds{${OF}}`, '{{instance}}'],
      ),
      panel(
        'Size of the store',
        'bytes',
        'The file, what of it is in use, and the quota.',
        [`etcd_mvcc_db_total_size_in_bytes{${OF}}`, 'file {{instance}}'],
        [`etcd_mvcc_db_total_size_in_use_in_bytes{${OF}}`, 'in use {{instance}}'],
        [`max(etcd_server_quota_backend_bytes{${OF}})`, 'quota'],
      ),
      panel(
        'Operations',
        'ops',
        'On the keys, transactions taken apart.',
        [`sum(${rate('etcd_mvcc_put_total')})`, 'put'],
        [`sum(${rate('etcd_mvcc_delete_total')})`, 'delete'],
        [`sum(${rate('etcd_mvcc_range_total')})`, 'range'],
        [`sum(${rate('etcd_mvcc_txn_total')})`, 'txn'],
      ),
      panel('Applying, 99 %', 's', 'By kind of request.', [p99('etcd_server_apply_duration_seconds', 'op'), '{{op}}']),
      panel('Revisions', 'short', 'Revisions that history holds: the newest less the last compacted.', [
        `etcd_debugging_mvcc_current_revision{${OF}} - (etcd_debugging_mvcc_compact_revision{${OF}} >= 0 or etcd_debugging_mvcc_compact_revision{${OF}} * 0)`,
        '{{instance}}',
      ]),
      panel('Largest prefixes', 'bytes', 'Keys and values below them, without history.', [
        `topk(8, max by (prefix) (etsd_prefix_bytes{${OF}}))`,
        '{{prefix}}',
      ]),
      panel('Leases', 'short', 'Leases that exist.', [`etsd_leases{${OF}}`, '{{instance}}']),
      panel('Archive behind', 's', 'How long ago everything had been archived.', [
        `time() - (etsd_archive_last_success_timestamp_seconds{${OF}} > 0)`,
        '{{instance}}',
      ]),
    ],
  },
  {
    title: 'The process',
    panels: [
      panel(
        'Event loop held',
        's',
        'While it is, nothing else goes on.',
        [`etsd_event_loop_delay_seconds{${OF},quantile="0.99"}`, '99 % {{instance}}'],
        [`etsd_event_loop_delay_seconds{${OF},quantile="1"}`, 'longest {{instance}}'],
      ),
      panel('Memory', 'bytes', 'Resident.', [`process_resident_memory_bytes{${OF}}`, '{{instance}}']),
      panel(
        'JavaScript heap',
        'bytes',
        'In use, and how large it may grow.',
        [`nodejs_heap_size_used_bytes{${OF}}`, 'used {{instance}}'],
        [`max(nodejs_heap_size_limit_bytes{${OF}})`, 'limit'],
      ),
      panel('Collecting garbage', 'percentunit', 'Part of the time that everything is held for it.', [
        `sum by (instance) (${rate('nodejs_gc_duration_seconds_sum')})`,
        '{{instance}}',
      ]),
      panel('Processor', 'percentunit', '1 is one core.', [rate('process_cpu_seconds_total'), '{{instance}}']),
      panel('Open files', 'short', 'Files and sockets.', [`process_open_fds{${OF}}`, '{{instance}}']),
      panel('Days to the end of certificates', 'short', 'Of the one that ends first.', [
        `min by (instance, side) (etsd_tls_days_to_expiry{${OF}})`,
        '{{side}} {{instance}}',
      ]),
    ],
  },
];

const COLUMNS = 24;

function panelsOf(rows: readonly Row[]): unknown[] {
  const panels: unknown[] = [];
  let id = 0;
  let y = 0;
  for (const row of rows) {
    panels.push({
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y: y++, w: COLUMNS, h: 1 },
      panels: [],
    });
    let x = 0;
    let height = 0;
    for (const one of row.panels) {
      const [w, h] = one.isNumber === true ? [4, 4] : [8, 7];
      if (x + w > COLUMNS) {
        x = 0;
        y += height;
      }
      height = h;
      panels.push(panelOf(one, ++id, { x, y, w, h }));
      x += w;
    }
    y += height;
  }
  return panels;
}

function panelOf({ title, unit, what, queries, isNumber = false }: Panel, id: number, gridPos: object): unknown {
  return {
    id,
    type: isNumber ? 'stat' : 'timeseries',
    title,
    description: what,
    datasource: { type: 'prometheus', uid: '$datasource' },
    gridPos,
    fieldConfig: {
      defaults: {
        unit,
        ...(isNumber ? {} : { min: 0, custom: { fillOpacity: 8, lineWidth: 1, showPoints: 'never' } }),
      },
      overrides: [],
    },
    options: isNumber
      ? { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'none', graphMode: 'none' }
      : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      expr,
      legendFormat: legend,
      ...(isNumber ? { instant: true } : {}),
    })),
  };
}

/** The dashboard as Grafana imports it. */
export function dashboard(): string {
  const whole = {
    title: 'etsd',
    uid: 'etsd',
    description: 'One cluster of etsd, or of etcd as far as it has these figures. Made by scripts/gen-dashboard.ts.',
    tags: ['etcd', 'etsd'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: '10s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' },
        {
          name: 'cluster',
          type: 'query',
          label: 'Cluster',
          datasource: { type: 'prometheus', uid: '$datasource' },
          query: 'label_values(etcd_server_has_leader, job)',
          definition: 'label_values(etcd_server_has_leader, job)',
          refresh: 2,
          sort: 1,
        },
      ],
    },
    panels: panelsOf(ROWS),
  };
  // Short lists on one line, as the formatter of this repository would have them.
  const text = JSON.stringify(whole, null, 2).replace(
    /\[\s+("[^"]*"(?:,\s+"[^"]*")*)\s+\]/g,
    (_list, items: string) => {
      return `[${items.replace(/,\s+/g, ', ')}]`;
    },
  );
  return `${text}\n`;
}

if (import.meta.main) writeFileSync(DASHBOARD_FILE, dashboard());
