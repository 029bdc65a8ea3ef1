// A worker: node --import tsx worker.ts NAME SLOTS EVIDENCE-DIR main|narrow|upset
import { HatchetClient } from '@hatchet-dev/typescript-sdk';

import { Recorder } from '../../sdk/typescript/src/evidence.js';
import { declareAll, type Group } from './workflows.js';

const [name, slots, dir, group] = process.argv.slice(2);
if (name === undefined || slots === undefined || dir === undefined || group === undefined) {
  console.error('usage: worker.ts NAME SLOTS EVIDENCE-DIR main|narrow|upset');
  process.exit(2);
}

const recorder = new Recorder(dir, name);
const hatchet = HatchetClient.init();
const workflows = Object.values(declareAll(hatchet, recorder)[group as Group]);
const worker = await hatchet.worker(name, { workflows, slots: Number(slots) });
const stopped = worker.start();
await worker.waitUntilReady(30_000);
recorder.write('ready');
await stopped;
