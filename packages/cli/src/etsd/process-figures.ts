import type { ProcessFigures } from '@etsd/server';

export function processFigures(): ProcessFigures {
  return {
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds() {
      const { system, user } = process.cpuUsage();
      return (system + user) / 1e6;
    },
    startSeconds: Date.now() / 1000 - process.uptime(),
  };
}
