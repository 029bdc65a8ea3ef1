// The worker processes of a storm.
import type { ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readEvidence } from './evidence.js';
import { end, running, start } from './processes.js';
import { until } from './wait.js';

const program = fileURLToPath(new URL('./worker.ts', import.meta.url));

export class Fleet {
  readonly evidence: string;
  readonly #workers = new Map<string, ChildProcess>();

  constructor(private readonly dir: string) {
    this.evidence = join(dir, 'evidence');
    mkdirSync(this.evidence, { recursive: true });
  }

  start(name: string, slots: number, env: NodeJS.ProcessEnv, ...workflows: string[]): void {
    const log = join(this.dir, `${name}.log`);
    const args = ['--import', 'tsx', program, name, String(slots), this.evidence, ...workflows];
    this.#workers.set(name, start(log, env, process.execPath, ...args));
  }

  /** Waits until every worker has registered. */
  async ready(): Promise<void> {
    const names = [...this.#workers.keys()];
    await until(`workers ${names.join(', ')} to register`, 40_000, () => {
      for (const [name, child] of this.#workers) {
        if (!running(child)) throw new Error(`worker ${name} ended, see ${join(this.dir, `${name}.log`)}`);
      }
      const seen = new Set(readEvidence(this.evidence).filter((l) => l.event === 'ready').map((l) => l.name));
      return names.every((name) => seen.has(name));
    });
  }

  async kill(name: string): Promise<void> {
    const child = this.#workers.get(name);
    if (child === undefined) throw new Error(`no worker ${name}`);
    await end(child, 'SIGKILL');
    this.#workers.delete(name);
  }

  /** Names of workers that should be running and are not. */
  lost(): string[] {
    return [...this.#workers].filter(([, child]) => !running(child)).map(([name]) => name);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((child) => end(child, 'SIGTERM', 4_000)));
  }
}
