// A storm worker: node --import tsx worker.ts NAME SLOTS EVIDENCE-DIR [WORKFLOW ...]
// It registers the named workflows, or all but `absent`.
import { HatchetClient } from '@hatchet-dev/typescript-sdk';

import { Recorder } from './evidence.js';
import { declareAll } from './workflows.js';

const [name, slots, dir, ...named] = process.argv.slice(2);
if (name === undefined || slots === undefined || dir === undefined) {
  console.error('usage: worker.ts NAME SLOTS EVIDENCE-DIR [WORKFLOW ...]');
  process.exit(2);
}

const recorder = new Recorder(dir, name);
const hatchet = HatchetClient.init();
const workflows = Object.entries(declareAll(hatchet, recorder))
  .filter(([key]) => (named.length === 0 ? key !== 'absent' : named.includes(key)))
  .map(([, workflow]) => workflow);
const worker = await hatchet.worker(name, { workflows, slots: Number(slots) });
const stopped = worker.start();
await worker.waitUntilReady(30_000);
recorder.write('ready');
await stopped;
