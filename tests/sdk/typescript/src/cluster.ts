// Three real nodes on this machine: `limpet dev` as a child process, and what
// its command line says about them.
import { execFile, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { freeBasePort } from './ports.js';
import { end, isOurs, onExit, running, signalIfThere, start } from './processes.js';
import { message, sleep, until } from './wait.js';

const run = promisify(execFile);

export type Node = { name: string; term: number; commit: number; applied: number; seq: number; state_hash: string };
export type Status = { leader: string; nodes: Node[] };

export const nodeNumbers = [1, 2, 3] as const;

export class Cluster {
  readonly #starters: ChildProcess[] = [];

  private constructor(
    private readonly binary: string,
    readonly dir: string,
    readonly basePort: number,
  ) {}

  /** Starts three nodes with their data below dir and waits for a leader. */
  static async start(binary: string, dir: string): Promise<Cluster> {
    if (!existsSync(binary)) throw new Error(`no ${binary}: build it first (make build)`);
    mkdirSync(dir, { recursive: true });
    const cluster = new Cluster(resolve(binary), resolve(dir), await freeBasePort());
    onExit(() => cluster.#signalAll('SIGKILL'));
    const args = ['dev', '--nodes', '3', '--data-dir', cluster.#data, '--base-port', String(cluster.basePort)];
    cluster.#spawn('dev', args);
    await until('the environment file of limpet dev', 30_000, () => existsSync(join(cluster.#data, 'env')));
    await cluster.converged('three nodes with a leader', 30_000);
    return cluster;
  }

  get #data(): string {
    return join(this.dir, 'data');
  }

  #spawn(name: string, args: string[]): void {
    this.#starters.push(start(join(this.dir, `${name}.log`), process.env, this.binary, ...args));
  }

  address(node: number): string {
    return `127.0.0.1:${this.basePort + 10 * (node - 1)}`;
  }

  /** What `limpet dev` wrote for clients. */
  fileEnv(): Record<string, string> {
    const env: Record<string, string> = {};
    for (const row of readFileSync(join(this.#data, 'env'), 'utf8').split('\n')) {
      const at = row.indexOf('=');
      if (at > 0 && !row.startsWith('#')) env[row.slice(0, at)] = row.slice(at + 1);
    }
    return env;
  }

  /** The environment of a client whose first choice is the given node, then the next ones. */
  env(first: number, rest: readonly number[] = nodeNumbers): NodeJS.ProcessEnv {
    const order = [first, ...rest.filter((node) => node !== first)];
    return {
      ...process.env,
      ...this.fileEnv(),
      HATCHET_CLIENT_HOST_PORT: `ipv4:${order.map((node) => this.address(node)).join(',')}`,
    };
  }

  pid(node: number): number {
    return Number(readFileSync(join(this.#data, `node-${node}.pid`), 'utf8').trim());
  }

  alive(node: number): boolean {
    return this.#livePid(node) !== undefined;
  }

  /** The process of a node that lives; its file may go at any moment, for `limpet dev` removes it. */
  #livePid(node: number): number | undefined {
    try {
      const pid = this.pid(node);
      return isOurs(pid, 'limpet') ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  #signalAll(signal: NodeJS.Signals): void {
    for (const node of nodeNumbers) {
      const pid = this.#livePid(node);
      if (pid !== undefined) signalIfThere(pid, signal);
    }
  }

  /** SIGKILL; returns the time of the kill in milliseconds. */
  async kill(node: number): Promise<number> {
    const pid = this.pid(node);
    if (!isOurs(pid, 'limpet')) throw new Error(`node-${node}.pid names ${pid}, which is no limpet process`);
    const at = Date.now();
    process.kill(pid, 'SIGKILL');
    await until(`the end of node-${node}`, 5_000, () => !this.alive(node), 10);
    return at;
  }

  async restart(node: number): Promise<void> {
    this.#spawn(`start-node-${node}`, ['dev', 'start-node', String(node), '--data-dir', this.#data]);
    await until(`node-${node} to start`, 20_000, () => this.alive(node), 20);
  }

  /** Runs a command of limpet's against the first living node that answers. */
  async ask<T>(...args: string[]): Promise<T> {
    const token = this.fileEnv().HATCHET_CLIENT_TOKEN ?? '';
    let last: unknown = new Error('no node is alive');
    for (const node of nodeNumbers.filter((n) => this.alive(n))) {
      const all = [...args, '-o', 'json', '--addr', this.address(node), '--token', token];
      try {
        const { stdout } = await run(this.binary, all, { timeout: 10_000, maxBuffer: 64 << 20 });
        return JSON.parse(stdout) as T;
      } catch (err) {
        last = err;
      }
    }
    throw new Error(`limpet ${args.join(' ')}: ${message(last)}`);
  }

  status(): Promise<Status> {
    return this.ask<Status>('cluster', 'status');
  }

  async leader(): Promise<number> {
    return until('a leader', 15_000, async () => nodeNumber((await this.status()).leader));
  }

  /** Waits until all three nodes stand at one seq, and returns it with their hashes. */
  async converged(what: string, timeoutMs: number): Promise<{ seq: number; hashes: string[] }> {
    return until(what, timeoutMs, async () => {
      const { leader, nodes } = await this.status();
      const seqs = new Set(nodes.map((node) => node.seq));
      if (leader === '' || nodes.length !== 3 || seqs.size !== 1) return false;
      return { seq: nodes[0]!.seq, hashes: nodes.map((node) => node.state_hash) };
    }, 200);
  }

  async stop(): Promise<void> {
    for (const starter of this.#starters) if (running(starter)) starter.kill('SIGTERM');
    this.#signalAll('SIGTERM');
    const down = () => nodeNumbers.every((node) => !this.alive(node));
    await until('the nodes to stop', 8_000, down).catch(() => undefined);
    this.#signalAll('SIGKILL');
    await Promise.all(this.#starters.map((starter) => end(starter, 'SIGTERM', 3_000)));
    await sleep(50);
  }
}

/** 2 for "node-2"; undefined when there is no such name. */
export function nodeNumber(name: string): number | undefined {
  const digits = /^node-(\d+)$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
