// Promises about workers that pause, freeze or die. Each step upsets one of two
// workers; the runs that began on the other one show that nothing else stopped.
import type { Line } from '../../sdk/typescript/src/evidence.js';
import { message, sleep, until } from '../../sdk/typescript/src/wait.js';
import type { Stage } from './stage.js';
import type { Where } from './workflows.js';

const waits = 'hard-waits-and-finishes-when-worker-returns';
const moves = 'soft-moves-when-worker-goes';
const refused = 'hard-schedule-timeout-with-message';
const apartMs = 3_000;

type Started = { run: string; output: Promise<Record<string, Where>> };
type Victim = { name: string; id: string; runs: Started[] };

export class Upset {
  #next = 1;

  constructor(private readonly stage: Stage) {}

  startWorker(): void {
    const number = this.#next++;
    this.stage.startWorker(`upset-${number}`, 60, 'upset', 1 + (number % 3));
  }

  async round(runs: number): Promise<void> {
    for (const step of [() => this.#hold(runs, 'pause'), () => this.#hold(runs, 'freeze'), () => this.#kill(runs)]) {
      try {
        await step();
      } catch (err) {
        for (const id of [waits, moves, refused] as const) this.stage.ledger.miss(id, message(err));
      }
    }
  }

  async #start(workflow: 'hold' | 'move' | 'strand', runs: number): Promise<Started[]> {
    const one = () => this.stage.trigger(() => this.stage.workflows.upset[workflow].runNoWait({}));
    return Promise.all(Array.from({ length: runs }, one));
  }

  /** The worker that most of the runs are on, once all of them have begun. */
  async #victim(runs: Started[]): Promise<Victim> {
    const ids = new Set(runs.map((r) => r.run));
    const firsts = await until('all runs to begin', 15_000, () => {
      const lines = this.stage.lines().filter((l) => l.event === 'begin' && ids.has(l.run) && l.task === 'first');
      return new Set(lines.map((l) => l.run)).size === ids.size && lines;
    }, 50);
    const by = new Map<string, Line[]>();
    for (const line of firsts) by.set(line.name, [...(by.get(line.name) ?? []), line]);
    const [name, lines] = [...by].sort(([, a], [, b]) => b.length - a.length)[0]!;
    const own = new Set(lines.map((l) => l.run));
    return { name, id: lines[0]!.worker, runs: runs.filter((r) => own.has(r.run)) };
  }

  /** The first task of each run is under way when its worker is paused or frozen for a while. */
  async #hold(runs: number, how: 'pause' | 'freeze'): Promise<void> {
    const { stage } = this;
    const started = await this.#start('hold', runs);
    const victim = await this.#victim(started);
    let back: number;
    let why = '';
    const from = Date.now();
    if (how === 'pause') {
      await stage.pause(victim.id, true);
      try {
        await until('the first tasks to end', 15_000, () => victim.runs.every((r) => this.#ended(r.run, 'first')));
        await sleep(apartMs);
        const { run, tasks } = await stage.show(victim.runs[0]!.run);
        const second = tasks.find((t) => t.name === 'second');
        why = `run ${run.status}, task ${second?.status}: ${second?.why ?? ''}`;
      } finally {
        back = Date.now();
        await stage.pause(victim.id, false);
      }
    } else {
      stage.signalWorker(victim.name, 'SIGSTOP');
      await sleep(apartMs + 1_000);
      back = Date.now();
      stage.signalWorker(victim.name, 'SIGCONT');
    }
    if (why !== '') stage.ledger.note(waits, `while paused: ${why}`);
    await Promise.all(victim.runs.map((started) => this.#judgeHeld(started, victim, how, from, back)));
  }

  #ended(run: string, task: string): boolean {
    return this.stage.lines().some((l) => l.run === run && l.task === task && l.event === 'end');
  }

  async #judgeHeld({ run, output }: Started, victim: Victim, how: string, from: number, back: number): Promise<void> {
    const { ledger } = this.stage;
    const { answer, error } = await this.stage.result(run, output);
    const lines = this.stage.begun(run);
    const elsewhere = lines.filter((l) => l.name !== victim.name || l.worker !== victim.id);
    const second = lines.find((l) => l.task === 'second');
    if (elsewhere.length > 0) {
      ledger.check(waits, false, `${how}: ${elsewhere[0]!.task} of run ${run} ran on ${elsewhere[0]!.name}, not on ${victim.name}`);
    } else if (answer === undefined) {
      ledger.check(waits, false, `${how}: run ${run}: ${error}`);
    } else if (second === undefined || second.at < from) {
      ledger.miss(waits, `${how}: run ${run} was over before`);
    } else {
      ledger.check(waits, second.at >= back, `${how}: run ${run} went on after ${second.at - from} ms, its worker was back after ${back - from} ms`);
    }
    ledger.note(waits, how === 'pause' ? 'by pause' : 'by freeze');
  }

  /** SIGKILL: SOFT runs go on elsewhere, HARD ones wait and are refused with a reason. */
  async #kill(runs: number): Promise<void> {
    const { stage } = this;
    const [moving, stranded] = await Promise.all([this.#start('move', runs), this.#start('strand', runs)]);
    const all = await this.#victim([...moving, ...stranded]);
    const at = Date.now();
    await stage.killWorker(all.name);
    const own = new Set(all.runs.map((r) => r.run));
    const mine = (list: Started[]) => list.filter((r) => own.has(r.run));
    await Promise.all([
      ...mine(moving).map((started) => this.#judgeMoved(started, all, at)),
      ...mine(stranded).map((started) => this.#judgeStranded(started, all, at)),
    ]);
    this.startWorker();
    await stage.ready();
  }

  async #judgeMoved({ run, output }: Started, victim: Victim, at: number): Promise<void> {
    const { ledger } = this.stage;
    const { answer, error } = await this.stage.result(run, output);
    const after = this.stage.begun(run).filter((l) => l.at > at);
    const places = new Set(after.map((l) => l.name));
    if (answer !== undefined && after.length === 0) return ledger.miss(moves, `run ${run} was over before`);
    const ok = answer !== undefined && places.size === 1 && !places.has(victim.name);
    ledger.check(moves, ok, `run ${run}: ${error || `after the kill of ${victim.name} it ran on ${[...places].join(', ')}`}`);
  }

  async #judgeStranded({ run, output }: Started, victim: Victim, at: number): Promise<void> {
    const { ledger } = this.stage;
    const { answer, error } = await this.stage.result(run, output);
    const elsewhere = this.stage.begun(run).filter((l) => l.name !== victim.name);
    const seconds = ((Date.now() - at) / 1000).toFixed(0);
    if (answer !== undefined) {
      if (elsewhere.length === 0) return ledger.miss(refused, `run ${run} was over before`);
      return ledger.check(refused, false, `run ${run} ran on ${elsewhere[0]!.name}, not on ${victim.name}`);
    }
    const ok = /schedul/i.test(error) && /worker/i.test(error) && elsewhere.length === 0;
    ledger.check(refused, ok, `run ${run} after ${seconds} s: ${error}`);
    if (ok) ledger.note(refused, error);
  }
}
