import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatNumber, labelText, MetricRegistry } from './metrics.ts';

describe('metrics', () => {
  it('write numbers as Go does, so that bounds of buckets are the same text', () => {
    const texts: readonly (readonly [number, string])[] = [
      [0, '0'],
      [-1, '-1'],
      [0.1024, '0.1024'],
      [0.0001, '0.0001'],
      [0.00005, '5e-05'],
      [999_999, '999999'],
      [1_000_000, '1e+06'],
      [1_048_576, '1.048576e+06'],
      [2 ** 31, '2.147483648e+09'],
      [1e100, '1e+100'],
      [Number.POSITIVE_INFINITY, '+Inf'],
      [Number.NaN, 'NaN'],
    ];
    for (const [value, text] of texts) assert.equal(formatNumber(value), text);
  });

  it('escape what ends a label', () => {
    assert.equal(labelText('a"b\\c\nd'), 'a\\"b\\\\c\\nd');
  });

  it('are written as Prometheus reads them, sorted by name, read when asked', () => {
    const registry = new MetricRegistry();
    let current = 1;
    registry.value('gauge', 'b_now', 'What is.', () => current);
    registry.labelled('counter', 'c_total', 'By kind.', () => new Map([['kind="x"', 2]]));
    const histogram = registry.histogram('a_seconds', 'How long.', [0.001, 0.5]);
    histogram.observe(0.001);
    histogram.observe(0.4);
    histogram.observe(7);
    registry.labelled('gauge', 'd_none', 'Nobody yet.', () => new Map());
    const view = { bounds: [1], counts: [2, 1], sum: 6, count: 3 };
    registry.labelledHistogram('e_seconds', 'By peer.', () => new Map([['To="a"', view]]));
    current = 3;
    assert.equal(
      registry.render(),
      `# HELP a_seconds How long.
# TYPE a_seconds histogram
a_seconds_bucket{le="0.001"} 1
a_seconds_bucket{le="0.5"} 2
a_seconds_bucket{le="+Inf"} 3
a_seconds_sum 7.401
a_seconds_count 3
# HELP b_now What is.
# TYPE b_now gauge
b_now 3
# HELP c_total By kind.
# TYPE c_total counter
c_total{kind="x"} 2
# HELP e_seconds By peer.
# TYPE e_seconds histogram
e_seconds_bucket{To="a",le="1"} 2
e_seconds_bucket{To="a",le="+Inf"} 3
e_seconds_sum{To="a"} 6
e_seconds_count{To="a"} 3
`,
    );
  });
});
