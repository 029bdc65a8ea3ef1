// A storm worker: node --import tsx worker.ts NAME SLOTS EVIDENCE-DIR
import { HatchetClient } from '@hatchet-dev/typescript-sdk';

import { Recorder } from './evidence.js';
import { declareAll } from './workflows.js';

const [name, slots, dir] = process.argv.slice(2);
if (name === undefined || slots === undefined || dir === undefined) {
  console.error('usage: worker.ts NAME SLOTS EVIDENCE-DIR');
  process.exit(2);
}

const recorder = new Recorder(dir, name);
const hatchet = HatchetClient.init();
const workflows = Object.values(declareAll(hatchet, recorder));
const worker = await hatchet.worker(name, { workflows, slots: Number(slots) });
const stopped = worker.start();
await worker.waitUntilReady(30_000);
recorder.write('ready');
await stopped;
