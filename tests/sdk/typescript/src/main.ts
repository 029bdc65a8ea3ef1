// node --import tsx src/main.ts MODE [--binary F] [--dir D] [--runs N] [--sleep MS] [--window N]
// Prints one line of figures and, if something was broken, what; then ends with status 1.
import { parseArgs } from 'node:util';

import { children } from './children.js';
import { installExitHandlers } from './processes.js';
import { restartAll } from './restart.js';
import type { Config, Report } from './stage.js';
import { storm, storms } from './storm.js';
import { hardTimeout } from './stranded.js';
import { message } from './wait.js';

const modes: Record<string, (config: Config) => Promise<Report>> = {
  ...Object.fromEntries(Object.keys(storms).map((name) => [name, (config: Config) => storm(name, config)])),
  children,
  'hard-timeout': hardTimeout,
  'restart-all': restartAll,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    binary: { type: 'string', default: '../../../bin/limpet' },
    dir: { type: 'string', default: '../../../.cache/sdk/typescript' },
    runs: { type: 'string', default: '200' },
    sleep: { type: 'string', default: '200' },
    window: { type: 'string', default: '24' },
  },
});

const name = positionals[0] ?? '';
const mode = modes[name];
if (mode === undefined) {
  console.error(`usage: main.ts ${Object.keys(modes).join('|')}`);
  process.exit(2);
}

installExitHandlers();
const shownFaults = 10;
try {
  const { line, faults } = await mode({
    binary: values.binary,
    dir: `${values.dir}/${name}`,
    runs: Number(values.runs),
    sleepMs: Number(values.sleep),
    window: Number(values.window),
  });
  console.log(`${faults.length === 0 ? 'kept  ' : 'BROKEN'}  typescript  ${name}  ${line}`);
  for (const fault of faults.slice(0, shownFaults)) console.log(`        ${fault}`);
  if (faults.length > shownFaults) console.log(`        and ${faults.length - shownFaults} more`);
  process.exit(faults.length === 0 ? 0 : 1);
} catch (err) {
  console.log(`BROKEN  typescript  ${name}  ${message(err)}`);
  process.exit(1);
}
