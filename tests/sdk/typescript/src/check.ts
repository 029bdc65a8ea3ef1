// Holds the answers that the SDK gave against the evidence of the task bodies.
import type { Line } from './evidence.js';
import type { Outcome } from './load.js';
import { stormTasks, type Strategy } from './workflows.js';

export type Figures = {
  runs: number;
  complete: number;
  /** Runs of which every execution that began, and every answer, names one worker. */
  oneWorker: number;
};

export type Findings = {
  hard: Figures;
  soft: Figures;
  /** Task runs whose body ended more than once. */
  doubled: number;
  /** Attempts whose body began more than once. */
  begunTwice: number;
  clientErrors: number;
  /**
   * Runs that were executed and that the client has no id of: the SDK repeats a
   * trigger call whose answer was lost, and its calls carry nothing to tell by.
   */
  strays: number;
  faults: string[];
};

export type Expectations = {
  /** SOFT runs may move: their worker was lost or full on purpose. */
  softMayMove?: boolean;
  /** A node ended while triggers were under way. */
  straysAllowed?: boolean;
};

export function check(outcomes: Outcome[], lines: Line[], expect: Expectations = {}): Findings {
  const faults: string[] = [];
  const byRun = group(lines.filter((l) => l.event !== 'ready'), (l) => l.run);
  const figures = (strategy: Strategy): Figures => {
    const own = outcomes.filter((o) => o.strategy === strategy);
    const of = { runs: own.length, complete: 0, oneWorker: 0 };
    for (const outcome of own) {
      const executed = byRun.get(outcome.run) ?? [];
      if (isComplete(outcome, executed, faults)) of.complete++;
      const workers = new Set([...executed.map((l) => l.worker), ...answered(outcome)]);
      if (workers.size === 1 && !workers.has('')) of.oneWorker++;
      else if (strategy === 'hard' || !expect.softMayMove) {
        faults.push(`${strategy} run ${outcome.run || '(not acknowledged)'} ran on ${workers.size} workers: ${describe(executed)}`);
      }
    }
    return of;
  };
  const hard = figures('hard');
  const soft = figures('soft');

  const ends = group(lines.filter((l) => l.event === 'end'), (l) => l.taskRun);
  const doubled = [...ends].filter(([, list]) => list.length > 1);
  for (const [, list] of doubled) faults.push(`task run ended ${list.length} times: ${describe(list)}`);

  const begins = group(lines.filter((l) => l.event === 'begin'), (l) => `${l.taskRun} ${l.attempt}`);
  const begunTwice = [...begins].filter(([, list]) => list.length > 1);
  for (const [, list] of begunTwice) faults.push(`one attempt began ${list.length} times: ${describe(list)}`);

  const known = new Set(outcomes.map((o) => o.run));
  const strays = [...byRun].filter(([run]) => !known.has(run));
  for (const [run, list] of strays) {
    if (!expect.straysAllowed) faults.push(`run ${run} was executed, but the client knows no such run`);
    if (list[0]!.workflow.endsWith('hard') && new Set(list.map((l) => l.worker)).size > 1) {
      faults.push(`hard run ${run}, of which the client has no id, ran on several workers: ${describe(list)}`);
    }
  }
  return {
    hard,
    soft,
    doubled: doubled.length,
    begunTwice: begunTwice.length,
    clientErrors: outcomes.filter((o) => o.error !== undefined).length,
    strays: strays.length,
    faults,
  };
}

/** A complete run has an answer of every task, and each body ended on the worker that the answer names. */
function isComplete(outcome: Outcome, executed: Line[], faults: string[]): boolean {
  const of = `${outcome.strategy} run ${outcome.run || '(not acknowledged)'}`;
  if (outcome.answer === undefined) {
    faults.push(`${of}: ${outcome.error ?? 'no answer'}; ${describe(executed)}`);
    return false;
  }
  for (const task of stormTasks) {
    const worker = outcome.answer[task]?.worker ?? '';
    if (!executed.some((l) => l.event === 'end' && l.task === task && l.worker === worker)) {
      faults.push(`${of}: answered that ${task} ran on ${worker || 'nothing'}, which no evidence says; ${describe(executed)}`);
      return false;
    }
  }
  return true;
}

const answered = (outcome: Outcome) => Object.values(outcome.answer ?? {}).map((where) => where.worker);

function describe(lines: Line[]): string {
  if (lines.length === 0) return 'nothing was executed';
  return lines.map((l) => `${l.at % 1_000_000} ${l.event} ${l.task}#${l.attempt} ${l.name}`).join(', ');
}

function group<T>(items: T[], key: (item: T) => string): Map<string, T[]> {
  const map = new Map<string, T[]>();
  for (const item of items) {
    const list = map.get(key(item));
    if (list === undefined) map.set(key(item), [item]);
    else list.push(item);
  }
  return map;
}

/** The longest silence, in seconds, between task bodies beginning, from the given time on. */
export function longestSilence(lines: Line[], fromMs: number): number {
  const begins = lines.filter((l) => l.event === 'begin' && l.at >= fromMs).map((l) => l.at);
  let longest = 0;
  let last = fromMs;
  for (const at of begins) {
    longest = Math.max(longest, at - last);
    last = at;
  }
  return longest / 1000;
}
