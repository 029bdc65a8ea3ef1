// All three nodes are killed while some runs are finished and some under way,
// and started again: nothing that was acknowledged may be missing.
import { nodeNumbers } from './cluster.js';
import { check } from './check.js';
import { readEvidence } from './evidence.js';
import { details, type Outcome, runLoad } from './load.js';
import { type Config, type Report, spread, type Stage, withStage } from './stage.js';
import { figures, hashes } from './storm.js';
import { message, sleep, until } from './wait.js';

export function restartAll(config: Config): Promise<Report> {
  return withStage(config, 50, spread, (stage) => play(stage, config));
}

type Outage = { from: number; seconds: number };

async function play({ cluster, fleet, hatchet, workflows }: Stage, config: Config): Promise<Report> {
  const faults: string[] = [];
  const total = 2 * config.runs;
  let outage: Promise<Outage | undefined> = Promise.resolve(undefined);

  const strike = async (): Promise<Outage> => {
    const from = Date.now();
    await Promise.all(nodeNumbers.map((node) => cluster.kill(node)));
    await sleep(500);
    await Promise.all(nodeNumbers.map((node) => cluster.restart(node)));
    await cluster.leader();
    return { from, seconds: (Date.now() - from) / 1000 };
  };
  const outcomes = await runLoad(workflows, {
    runs: config.runs,
    sleepMs: 2 * config.sleepMs,
    window: config.window,
    timeoutMs: 70_000,
    onFinished: (finished) => {
      if (finished !== Math.ceil(total / 4)) return;
      outage = strike().catch((err: unknown) => void faults.push(`the restart failed: ${message(err)}`));
    },
  });
  const gone = await outage;
  if (gone === undefined) faults.push('the nodes were not restarted');

  const findings = check(outcomes, readEvidence(fleet.evidence), { straysAllowed: true });
  faults.push(...findings.faults, ...fleet.lost().map((name) => `${name} ended by itself`));
  const acknowledged = outcomes.filter((o) => o.run !== '');
  const before = outcomes.filter((o) => gone !== undefined && (o.finishedAt ?? Infinity) < gone.from);
  const listed = await listedRuns(cluster, acknowledged.map((o) => o.run), faults);
  const kept = await sameAnswers(before, (run) => details(hatchet, run), faults);

  const parts = [
    figures(findings),
    `${listed}/${acknowledged.length} listed`,
    `${kept}/${before.length} answers from before kept`,
    `down ${gone?.seconds.toFixed(2) ?? '?'}s`,
    await hashes(cluster, faults),
  ];
  return { line: parts.join(', '), faults };
}

/** How many of the acknowledged runs `limpet run list` has. */
async function listedRuns(cluster: Stage['cluster'], wanted: string[], faults: string[]): Promise<number> {
  const runs = await cluster.ask<{ id: string }[]>('run', 'list', '--limit', '2000');
  const ids = new Set(runs.map((run) => run.id));
  for (const run of wanted) if (!ids.has(run)) faults.push(`run ${run} was acknowledged and is not listed`);
  return wanted.filter((run) => ids.has(run)).length;
}

/** How many runs that had ended before still have the same end. */
async function sameAnswers(
  before: Outcome[],
  read: (run: string) => Promise<{ status: string; answer: unknown }>,
  faults: string[],
): Promise<number> {
  let same = 0;
  for (const outcome of before) {
    try {
      const { status, answer } = await until(`details of run ${outcome.run}`, 5_000, () => read(outcome.run));
      if (status === 'COMPLETED' && canonical(answer) === canonical(outcome.answer)) same++;
      else faults.push(`run ${outcome.run} had answered ${canonical(outcome.answer)} and is now ${status} ${canonical(answer)}`);
    } catch (err) {
      faults.push(message(err));
    }
  }
  return same;
}

/** JSON with sorted keys, at both levels that an answer has. */
function canonical(answer: unknown): string {
  const sort = (_: string, value: unknown) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return JSON.stringify(answer, sort);
}
