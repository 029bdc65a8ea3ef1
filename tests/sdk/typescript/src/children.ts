// Sticky children run where their parent runs, and the two kinds that cannot
// are refused before anything is created.
import { type Config, type Report, spread, type Stage, withStage } from './stage.js';
import { hashes } from './storm.js';
import { within } from './wait.js';

const parents = 30;

export function children(config: Config): Promise<Report> {
  return withStage(config, 50, spread, play);
}

async function play({ cluster, fleet, workflows }: Stage): Promise<Report> {
  const faults: string[] = [];
  // The only worker that knows the child that the parents' workers do not.
  fleet.start('stranger', 50, cluster.env(1), 'absent', 'child');
  await fleet.ready();

  const inputs = Array.from({ length: parents }, (_, k) => ({ tryForbidden: k === 0 }));
  const families = await within(80_000, 'the parents', Promise.all(inputs.map((input) => workflows.parent.run(input))));

  let spawned = 0;
  let together = 0;
  for (const family of families) {
    spawned += family.children.length;
    const at = family.children.filter((worker) => worker === family.worker).length;
    together += at;
    if (at !== family.children.length) {
      faults.push(`the parent ran on ${family.worker}, its children on ${family.children.join(', ')}`);
    }
  }
  const { plain, absent } = families[0]!.refused;
  if (!/sticky|strategy/i.test(plain)) faults.push(`a child without a strategy: ${JSON.stringify(plain)}`);
  if (!/regist/i.test(absent)) faults.push(`a child that this worker has not registered: ${JSON.stringify(absent)}`);
  for (const name of ['storm-child-plain', 'storm-child-absent']) {
    const runs = await cluster.ask<unknown[]>('run', 'list', '--workflow', name);
    if (runs.length > 0) faults.push(`${runs.length} runs of ${name} were created`);
  }
  const parts = [
    `${together}/${spawned} children with their parents`,
    `without a strategy: ${plain || 'NOT REFUSED'}`,
    `not registered: ${absent || 'NOT REFUSED'}`,
    await hashes(cluster, faults),
  ];
  return { line: parts.join('; '), faults };
}
