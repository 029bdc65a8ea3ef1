// node --import tsx main.ts, with CONFORMANCE_MODE (calm or kills) and LIMPET_BIN.
// Prints one row for each promise: ROW, SDK, mode, promise, verdict, note.
import { fileURLToPath } from 'node:url';

import { installExitHandlers } from '../../sdk/typescript/src/processes.js';
import { message } from '../../sdk/typescript/src/wait.js';
import { Killer } from './killer.js';
import { Ledger } from './ledger.js';
import { Stage } from './stage.js';
import { refusalRound, steadyRound } from './steady.js';
import { Upset } from './upset.js';

const stormMs = 40_000;
const mode = process.env.CONFORMANCE_MODE ?? 'calm';
if (mode !== 'calm' && mode !== 'kills') {
  console.error(`CONFORMANCE_MODE ${JSON.stringify(mode)} must be calm or kills`);
  process.exit(2);
}
const top = fileURLToPath(new URL('../../../', import.meta.url));
const binary = process.env.LIMPET_BIN ?? `${top}bin/limpet`;
const calm = mode === 'calm';
const ledger = new Ledger(calm);
const killer = new Killer();

async function play(stage: Stage, upset: Upset): Promise<void> {
  stage.startWorker('main-1', 120, 'main', 1);
  stage.startWorker('main-2', 120, 'main', 2);
  stage.startWorker('narrow-1', 1, 'narrow', 3);
  stage.startWorker('narrow-2', 1, 'narrow', 1);
  upset.startWorker();
  upset.startWorker();
  await stage.ready();
  if (calm) {
    await Promise.all([steadyRound(stage, 10, 3, 20), refusalRound(stage, 5), upset.round(16)]);
    return;
  }
  killer.begin(stage);
  const until = Date.now() + stormMs;
  const again = async (round: () => Promise<void>) => {
    do await round();
    while (Date.now() < until);
  };
  await Promise.all([
    again(() => steadyRound(stage, 6, 1, 6)),
    again(() => refusalRound(stage, 3)),
    again(() => upset.round(8)),
  ]);
  await killer.stop();
}

installExitHandlers();
const stage = await Stage.open(binary, `${top}.cache/conformance/typescript/${mode}`, ledger, calm ? 30 : 60);
let trouble = '';
try {
  await play(stage, new Upset(stage));
  const lost = stage.lost();
  if (lost.length > 0) trouble = `${lost.join(', ')} ended`;
} catch (err) {
  trouble = message(err);
} finally {
  await stage.close();
}
const retried = ledger.retried > 0 ? `${ledger.retried} client calls repeated in all` : '';
const more = [killer.note, retried, killer.fault, trouble].filter((part) => part !== '').join('; ');
for (const row of ledger.rows(mode, more)) console.log(row);
process.exit(trouble === '' && killer.fault === '' ? 0 : 1);
