// The cluster, the workers beside it, and the client that starts runs.
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { HatchetClient } from '@hatchet-dev/typescript-sdk';

import { Cluster, nodeNumbers } from '../../sdk/typescript/src/cluster.js';
import { type Line, readEvidence } from '../../sdk/typescript/src/evidence.js';
import { end, running, start } from '../../sdk/typescript/src/processes.js';
import { message, sleep, until, within } from '../../sdk/typescript/src/wait.js';
import type { Ledger } from './ledger.js';
import { declareAll, type Group, type Workflows } from './workflows.js';

const program = fileURLToPath(new URL('./worker.ts', import.meta.url));

/** What `limpet run get` says of a task run. */
export type TaskInfo = { id: string; name: string; status: string; worker?: string; output?: string; error?: string; why?: string };
export type RunInfo = { run: { id: string; status: string }; tasks: TaskInfo[] };

/** A run that was acknowledged, and what came of it. */
export type Ended<T> = { run: string; answer?: T; error: string };

/** Starts a run: a call of the SDK's. */
type Call<O> = () => Promise<{ runId: Promise<string>; output: Promise<O> }>;

export class Stage {
  readonly evidence: string;
  readonly hatchet: HatchetClient;
  readonly workflows: Workflows;
  readonly #workers = new Map<string, ChildProcess>();

  private constructor(
    readonly cluster: Cluster,
    readonly ledger: Ledger,
    private readonly dir: string,
    /** Seconds that an acknowledged run may take. */
    private readonly patience: number,
  ) {
    this.evidence = join(dir, 'evidence');
    mkdirSync(this.evidence, { recursive: true });
    // The client reads its settings from this process's environment, as in any program.
    for (const [key, value] of Object.entries(cluster.env(3))) {
      if (key.startsWith('HATCHET_CLIENT_')) process.env[key] = value;
    }
    this.hatchet = HatchetClient.init({ log_level: 'OFF' });
    this.workflows = declareAll(this.hatchet);
  }

  static async open(binary: string, dir: string, ledger: Ledger, patience: number): Promise<Stage> {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true });
    return new Stage(await Cluster.start(binary, join(dir, 'cluster')), ledger, dir, patience);
  }

  startWorker(name: string, slots: number, group: Group, node: number): void {
    const log = join(this.dir, `${name}.log`);
    const args = ['--import', 'tsx', program, name, String(slots), this.evidence, group];
    this.#workers.set(name, start(log, this.cluster.env(node), process.execPath, ...args));
  }

  async ready(): Promise<void> {
    const names = [...this.#workers.keys()];
    await until(`workers ${names.join(', ')} to register`, 40_000, () => {
      const seen = new Set(this.lines().filter((l) => l.event === 'ready').map((l) => l.name));
      return names.every((name) => seen.has(name));
    });
  }

  signalWorker(name: string, signal: NodeJS.Signals): void {
    this.#workers.get(name)?.kill(signal);
  }

  async killWorker(name: string): Promise<void> {
    const child = this.#workers.get(name);
    this.#workers.delete(name);
    if (child !== undefined) await end(child, 'SIGKILL');
  }

  /** Names of workers that should be running and are not. */
  lost(): string[] {
    return [...this.#workers].filter(([, child]) => !running(child)).map(([name]) => name);
  }

  lines(): Line[] {
    return readEvidence(this.evidence);
  }

  /** The lines that a run's task bodies wrote when they began. */
  begun(run: string): Line[] {
    return this.lines().filter((l) => l.run === run && l.event === 'begin');
  }

  /** Starts a run and gives its id. A call that fails is made again, and counted. */
  async trigger<O>(call: Call<O>): Promise<{ run: string; output: Promise<O> }> {
    for (let tries = 1; ; tries++) {
      try {
        const ref = await within(15_000, 'trigger', call());
        // Nobody may be waiting for it yet when it is refused.
        ref.output.catch(() => undefined);
        return { run: await ref.runId, output: ref.output };
      } catch (err) {
        if (tries === 8) throw err;
        this.ledger.retried++;
        await sleep(300);
      }
    }
  }

  /** Waits for the end of a run; when the SDK's own wait is cut off, the nodes are asked. */
  async result<O>(run: string, output: Promise<O>): Promise<Ended<O>> {
    const late = this.patience * 1000;
    try {
      return { run, answer: await within(late, `the result of run ${run}`, output), error: '' };
    } catch (err) {
      const error = message(err);
      const { run: ended, tasks } = await this.show(run);
      if (ended.status !== 'COMPLETED') return { run, error: `${ended.status}: ${error}` };
      this.ledger.retried++;
      const outputs = tasks.map((t) => [t.name, JSON.parse(t.output ?? 'null')] as const);
      const answer = outputs.length === 1 ? outputs[0]![1] : Object.fromEntries(outputs);
      return { run, answer: answer as O, error: '' };
    }
  }

  /** Starts a run and waits for its end. */
  async play<O>(call: Call<O>): Promise<Ended<O>> {
    try {
      const { run, output } = await this.trigger(call);
      return await this.result(run, output);
    } catch (err) {
      return { run: '', error: message(err) };
    }
  }

  /** A run as the nodes tell it. */
  show(run: string): Promise<RunInfo> {
    return until(`run get ${run}`, 15_000, () => this.cluster.ask<RunInfo>('run', 'get', run));
  }

  /** Pauses or resumes a worker through the REST interface, at the first node that answers. */
  async pause(worker: string, paused: boolean): Promise<void> {
    const token = this.cluster.fileEnv().HATCHET_CLIENT_TOKEN;
    await until(`PATCH of worker ${worker}`, 20_000, async () => {
      let last = 'no node is alive';
      for (const node of nodeNumbers.filter((n) => this.cluster.alive(n))) {
        const url = `http://127.0.0.1:${this.cluster.basePort + 10 * (node - 1) + 3}/api/v1/workers/${worker}`;
        const body = JSON.stringify({ isPaused: paused });
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
        const answer = await fetch(url, { method: 'PATCH', headers, body, signal: AbortSignal.timeout(5_000) }).catch(
          (err: unknown) => ({ ok: false, status: 0, text: async () => message(err) }),
        );
        if (answer.ok) return true;
        last = `${answer.status} ${await answer.text()}`;
      }
      throw new Error(last);
    });
  }

  async close(): Promise<void> {
    for (const child of this.#workers.values()) child.kill('SIGCONT');
    await Promise.all([...this.#workers.values()].map((child) => end(child, 'SIGTERM', 2_000)));
    await this.cluster.stop();
  }
}
