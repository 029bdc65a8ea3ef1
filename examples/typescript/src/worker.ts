// A long-lived worker. Start several: every run stays on the one it began on.
import { hatchet, workflows } from './workflows.js';

const name = process.argv[2] ?? `typescript-${process.pid}`;
const worker = await hatchet.worker(name, { workflows, slots: 10 });

await worker.start();
