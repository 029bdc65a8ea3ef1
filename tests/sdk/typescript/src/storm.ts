// HARD and SOFT runs under way while a node is killed, or none.
import type { Cluster } from './cluster.js';
import { check, type Expectations, type Findings, longestSilence } from './check.js';
import { readEvidence } from './evidence.js';
import { runLoad } from './load.js';
import { type Config, followers, type Report, type Seats, spread, type Stage, withStage } from './stage.js';
import { message, sleep } from './wait.js';

type Blow = { node: number; at: number };

type Storm = {
  seats: (leader: number) => Seats;
  /** Done when a quarter of the runs are finished. */
  strike?: (cluster: Cluster) => Promise<Blow>;
  expect?: Expectations;
  /** All runs at once, far more than there are slots. */
  burst?: boolean;
  /** Wait before the load until the workers' streams are so old. */
  streamAgeMs?: number;
};

const slotsPerWorker = 50;

/** Seconds. The figure is for reading; only what would make SDKs give up is a fault. */
const longestGap = 20;

export const storms: Record<string, Storm> = {
  calm: { seats: spread },
  burst: { seats: spread, burst: true, expect: { softMayMove: true } },
  'leader-kill': {
    seats: spread,
    strike: async (cluster) => {
      const node = await cluster.leader();
      return { node, at: await cluster.kill(node) };
    },
    expect: { straysAllowed: true },
  },
  'follower-kill': {
    // All workers at one follower, the client at the other.
    seats: (leader) => {
      const [first, second] = followers(leader) as [number, number];
      return { workers: [first, first, first], client: second };
    },
    // The SDK itself waits 5 s before it opens a stream again that broke earlier.
    streamAgeMs: 20_500,
    strike: async (cluster) => {
      const leader = await cluster.leader();
      const node = await busiest(cluster, followers(leader));
      return { node, at: await cluster.kill(node) };
    },
    expect: { straysAllowed: true },
  },
};

export function storm(name: string, config: Config): Promise<Report> {
  const of = storms[name]!;
  return withStage(config, slotsPerWorker, of.seats, (stage) => play(stage, of, config));
}

async function play(stage: Stage, of: Storm, config: Config): Promise<Report> {
  const { cluster, fleet, workflows } = stage;
  const total = 2 * config.runs;
  const faults: string[] = [];
  let struck: Promise<Blow | undefined> = Promise.resolve(undefined);
  const strikeAt = of.strike === undefined ? Infinity : Math.ceil(total / 4);
  await sleep(of.streamAgeMs ?? 0);
  const started = Date.now();
  const outcomes = await runLoad(workflows, {
    runs: config.runs,
    sleepMs: config.sleepMs,
    window: of.burst ? total : config.window,
    timeoutMs: 70_000,
    onFinished: (finished) => {
      if (finished !== strikeAt) return;
      struck = of.strike!(cluster).catch((err: unknown) => void faults.push(`the strike failed: ${message(err)}`));
    },
  });
  const seconds = (Date.now() - started) / 1000;

  const blow = await struck;
  if (of.strike !== undefined && blow === undefined) faults.push('no node was killed');
  const evidence = readEvidence(fleet.evidence);
  const findings = check(outcomes, evidence, of.expect);
  faults.push(...findings.faults, ...fleet.lost().map((name) => `${name} ended by itself`));

  if (blow !== undefined) await cluster.restart(blow.node);
  const parts = [figures(findings), `${seconds.toFixed(1)}s`];
  if (blow !== undefined) {
    const gap = longestSilence(evidence, blow.at);
    parts.push(`gap ${gap.toFixed(2)}s after node-${blow.node}`);
    if (gap > longestGap) faults.push(`no task began for ${gap.toFixed(2)} s, more than ${longestGap} s`);
  }
  parts.push(await hashes(cluster, faults));
  return { line: parts.join(', '), faults };
}

/** The figures of a storm in one piece of a line. */
export function figures(f: Findings): string {
  const of = (name: 'hard' | 'soft') =>
    `${name} ${f[name].complete}/${f[name].runs} complete, ${f[name].oneWorker}/${f[name].runs} one worker`;
  const strays = f.strays > 0 ? `, ${f.strays} repeated triggers` : '';
  return `${of('hard')}, ${of('soft')}, ${f.doubled + f.begunTwice} doubled, ${f.clientErrors} client errors${strays}`;
}

/** Compares the nodes' states once they stand at one seq. */
export async function hashes(cluster: Cluster, faults: string[]): Promise<string> {
  try {
    const { seq, hashes: found } = await cluster.converged('all three nodes at one seq', 40_000);
    if (new Set(found).size === 1 && found[0]) return `states equal at seq ${seq}`;
    faults.push(`states differ at seq ${seq}: ${found.join(' ')}`);
    return 'STATES DIFFER';
  } catch (err) {
    faults.push(message(err));
    return 'states not compared';
  }
}

type Worker = { name: string; node: string };

/** The one of these nodes that most worker streams end at. */
async function busiest(cluster: Cluster, among: number[]): Promise<number> {
  const workers = await cluster.ask<Worker[]>('worker', 'list');
  const count = (node: number) => workers.filter((w) => w.node === `node-${node}`).length;
  const [first, ...rest] = among as [number, ...number[]];
  return rest.reduce((best, node) => (count(node) > count(best) ? node : best), first);
}
