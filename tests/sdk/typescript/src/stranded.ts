// A HARD run whose only worker is killed: it waits, says why, and ends with an
// error that says so. Another worker that could do the work must not get it.
import { type Line, readEvidence } from './evidence.js';
import { type Config, type Report, type Stage, withStage } from './stage.js';
import { hashes } from './storm.js';
import { message, until, within } from './wait.js';
import { strandedTimeoutSeconds } from './workflows.js';

export function hardTimeout(config: Config): Promise<Report> {
  return withStage(config, 1, (leader) => ({ workers: [leader], client: leader }), play);
}

async function play({ cluster, fleet, workflows }: Stage): Promise<Report> {
  const faults: string[] = [];
  const ref = await workflows.stranded.runNoWait({ number: 0, sleepMs: 0 });
  const run = await ref.runId;
  const rejected = within(90_000, `result of run ${run}`, ref.output).then(
    () => '',
    (err: unknown) => message(err),
  );

  const lines = () => readEvidence(fleet.evidence).filter((l) => l.run === run);
  const long = (l: Line) => l.task.startsWith('join');
  await until('one of the long steps to begin', 20_000, () => lines().some((l) => long(l) && l.event === 'begin'));
  await fleet.kill('worker-1');
  const killedAt = Date.now();

  // It has slots free and knows the workflow; only the pin keeps the run from it.
  fleet.start('bystander', 10, cluster.env(1));

  const reason = await until('pin list to name why the run waits', 30_000, () => whyWaiting(cluster, run)).catch(
    (err: unknown) => (faults.push(message(err)), ''),
  );
  await fleet.ready();
  const text = await rejected;
  const seconds = (Date.now() - killedAt) / 1000;

  if (text === '') faults.push('the run ended without an error');
  else if (!/schedul/i.test(text) || !/worker/i.test(text)) {
    faults.push(`the error should speak of the schedule timeout and of the worker: ${JSON.stringify(text)}`);
  }
  const elsewhere = lines().filter((l) => l.name === 'bystander');
  if (elsewhere.length > 0) faults.push(`the HARD run went to another worker: ${elsewhere.map((l) => l.task).join(', ')}`);
  const begun = lines().filter((l) => long(l) && l.event === 'begin');
  if (begun.length !== 1) faults.push(`${begun.length} long steps began on a worker with one slot`);
  const parts = [
    `refused after ${seconds.toFixed(1)}s (schedule timeout ${strandedTimeoutSeconds}s)`,
    `waited because: ${reason || 'NO REASON'}`,
    `error: ${text || 'NONE'}`,
    await hashes(cluster, faults),
  ];
  return { line: parts.join('; '), faults };
}

type Pin = { run_id: string; why_code: string; why: string };

/** The reason that `limpet pin list` gives for this run, once the worker is known to be lost. */
async function whyWaiting(cluster: Stage['cluster'], run: string): Promise<string | undefined> {
  const pins = await cluster.ask<Pin[]>('pin', 'list');
  const pin = pins.find((p) => p.run_id === run && p.why_code === 'PIN_WORKER_LOST');
  return pin === undefined ? undefined : `${pin.why_code}: ${pin.why}`;
}
