import type { Message } from '../support/client.ts';
import type { TestServer } from '../support/server.ts';

/**
 * Knows the answers of the cluster under test from those of strangers. While a member is down or not yet up, any program of
 * the machine may listen on its port for a moment; what such a one answers says nothing about the cluster. From a member that
 * serves, an answer in the name of another cluster is a violation.
 */
export class Identity {
  private readonly clusterId: string;
  private readonly report: (text: string) => void;
  strangers = 0;

  constructor(clusterId: string, report: (text: string) => void) {
    this.clusterId = clusterId;
    this.report = report;
  }

  /** Whether a response came from the cluster. `wasReady`: the member served when the request was sent. */
  isOurs(server: TestServer, wasReady: boolean, response: Message): boolean {
    const header = response['header'] as Message | null | undefined;
    if (header?.['cluster_id'] === this.clusterId) return true;
    this.strangers++;
    if (wasReady && server.isReady && server.isRunning) {
      this.report(`${server.membership.name} answered for cluster ${header?.['cluster_id']}, not ${this.clusterId}`);
    }
    return false;
  }
}

export const STRANGER = 'another program answered at the port';
