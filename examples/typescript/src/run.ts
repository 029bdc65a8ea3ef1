// Starts each workflow once and says which workers its tasks ran on. Ends with
// status 1 if a sticky run was spread over more than one worker.
import { hardDag, softDag, sticky } from './workflows.js';

let spread = 0;

function report(what: string, places: Record<string, string>): void {
  const workers = new Set(Object.values(places));
  const kept = workers.size === 1 && !workers.has('');
  if (!kept) spread++;
  const list = Object.entries(places).map(([task, worker]) => `${task} on ${worker}`);
  console.log(`${kept ? 'kept  ' : 'SPREAD'}  ${what}: ${list.join(', ')}`);
}

const one = await sticky.run({});
report('sticky', { sticky: one.worker, child: one.result.worker });

for (const dag of [softDag, hardDag]) {
  const { step1a, step1b, step2 } = await dag.run({});
  report(dag.name, { step1a: step1a.worker, step1b: step1b.worker, step2: step2.worker, child: step2.child });
}

// The client keeps its connection open; a program that is done says so.
process.exit(spread === 0 ? 0 : 1);
