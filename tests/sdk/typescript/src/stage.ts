// What every mode needs: a cluster, workers, a client, and their end.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { HatchetClient } from '@hatchet-dev/typescript-sdk';

import { Cluster, nodeNumbers } from './cluster.js';
import { Fleet } from './fleet.js';
import { declareAll, type Workflows } from './workflows.js';

export type Stage = {
  cluster: Cluster;
  fleet: Fleet;
  hatchet: HatchetClient;
  workflows: Workflows;
};

/** What a mode has to say in the end. Faults make it fail. */
export type Report = { line: string; faults: string[] };

export type Config = { binary: string; dir: string; runs: number; sleepMs: number; window: number };

/** Which node each worker tries first, and which the client does. */
export type Seats = { workers: number[]; client: number };

/**
 * Starts a cluster, workers and a client, plays, and ends all of them. Seats are
 * given once the leader is known: SDKs take the first address that answers.
 */
export async function withStage(
  config: Config,
  slots: number,
  seats: (leader: number) => Seats,
  play: (stage: Stage) => Promise<Report>,
): Promise<Report> {
  rmSync(config.dir, { recursive: true, force: true });
  mkdirSync(config.dir, { recursive: true });
  const cluster = await Cluster.start(config.binary, join(config.dir, 'cluster'));
  const fleet = new Fleet(config.dir);
  try {
    const { workers, client } = seats(await cluster.leader());
    workers.forEach((node, k) => fleet.start(`worker-${k + 1}`, slots, cluster.env(node)));
    const hatchet = connect(cluster.env(client));
    await fleet.ready();
    return await play({ cluster, fleet, hatchet, workflows: declareAll(hatchet) });
  } finally {
    await fleet.stop();
    await cluster.stop();
  }
}

/** The client reads its settings from this process's environment, as in any program. */
function connect(env: NodeJS.ProcessEnv): HatchetClient {
  for (const [key, value] of Object.entries(env)) {
    if (key.startsWith('HATCHET_CLIENT_')) process.env[key] = value;
  }
  return HatchetClient.init({ log_level: 'ERROR' });
}

/** One worker at each node, so that any node's end is felt by one of them. */
export const spread = (client: number): Seats => ({ workers: [...nodeNumbers], client });

/** All nodes that are not the leader. */
export const followers = (leader: number) => nodeNumbers.filter((node) => node !== leader);
