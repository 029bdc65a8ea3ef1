// A node dies without a word every ten seconds and is started again.
import { nodeNumbers } from '../../sdk/typescript/src/cluster.js';
import { message, sleep, until } from '../../sdk/typescript/src/wait.js';
import type { Stage } from './stage.js';

const everyMs = 10_000;
const downMs = 1_000;

export class Killer {
  kills = 0;
  leaders = 0;
  fault = '';
  #over = false;
  #done: Promise<void> = Promise.resolve();

  begin(stage: Stage): void {
    this.#done = this.#work(stage).catch((err: unknown) => void (this.fault = message(err)));
  }

  async #work({ cluster }: Stage): Promise<void> {
    await sleep(2_000);
    while (!this.#over) {
      const from = Date.now();
      const leader = await cluster.leader();
      // The first is the leader, so that there is one in every storm.
      const node = this.kills === 0 ? leader : 1 + Math.floor(Math.random() * nodeNumbers.length);
      await cluster.kill(node);
      this.kills++;
      if (node === leader) this.leaders++;
      await sleep(downMs);
      await cluster.restart(node);
      // Two of three must live, so the next one waits until this one is back.
      await until('all nodes to answer', 30_000, async () => (await cluster.status()).nodes.every((n) => n.term > 0));
      while (!this.#over && Date.now() < from + everyMs) await sleep(100);
    }
  }

  /** Ends the killing; all nodes are up afterwards. */
  async stop(): Promise<void> {
    this.#over = true;
    await this.#done;
  }

  get note(): string {
    return this.kills === 0 ? '' : `${this.kills} nodes killed, ${this.leaders} of them leaders`;
  }
}
