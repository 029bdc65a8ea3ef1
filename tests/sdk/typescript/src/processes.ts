// Child processes with a log file each. What was started here is ended here,
// by process id, also when the driver is interrupted.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

const children = new Set<ChildProcess>();
const lastWishes = new Set<() => void>();

export function start(logFile: string, env: NodeJS.ProcessEnv, command: string, ...args: string[]): ChildProcess {
  const log = openSync(logFile, 'a');
  const child = spawn(command, args, { env, stdio: ['ignore', log, log] });
  closeSync(log);
  children.add(child);
  child.on('error', (err) => console.error(`start ${command}: ${err.message}`));
  child.on('exit', () => children.delete(child));
  return child;
}

export const running = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

/** Signals a child and waits for its end; SIGKILL after the patience. */
export async function end(child: ChildProcess, signal: NodeJS.Signals, patienceMs = 8_000): Promise<void> {
  if (!running(child)) return;
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  await gone;
  clearTimeout(timer);
}

/** Whether the process exists and was started with this text in its command line. */
export function isOurs(pid: number, text: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
  } catch {
    return false;
  }
}

/** Signals a process of ours; one that has ended in the meantime is as it should be. */
export function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}

/** Something more to do when the driver ends in any way; it must not wait. */
export const onExit = (wish: () => void) => lastWishes.add(wish);

export function installExitHandlers(): void {
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    for (const wish of lastWishes) wish();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130));
  }
}
