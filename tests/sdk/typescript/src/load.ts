// Runs of the storm workflows, a window of them at a time, and what came of each.
import { type HatchetClient } from '@hatchet-dev/typescript-sdk';

import { message, within } from './wait.js';
import type { Answer, Strategy, Workflows } from './workflows.js';

export type Outcome = {
  strategy: Strategy;
  /** Id that the server acknowledged; empty if the trigger call failed. */
  run: string;
  answer?: Answer;
  finishedAt?: number;
  /** What the SDK threw, from the trigger or from the result. */
  error?: string;
};

export type LoadOptions = {
  /** Runs of each strategy. */
  runs: number;
  sleepMs: number;
  /**
   * Unfinished runs at a time. With twice as many slots on every worker no run
   * ever finds its worker full, so a SOFT run has no reason to move.
   */
  window: number;
  /** For all of them; what is not finished by then counts as failed. */
  timeoutMs: number;
  /** Called after each finished run with the number so far. */
  onFinished?: (finished: number) => void;
};

/** Starts HARD and SOFT runs in turn and waits for all of them. It never throws. */
export async function runLoad(workflows: Workflows, options: LoadOptions): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let k = 0; k < options.runs; k++) {
    outcomes.push({ strategy: 'hard', run: '' }, { strategy: 'soft', run: '' });
  }
  const deadline = Date.now() + options.timeoutMs;
  let next = 0;
  let finished = 0;
  const lane = async () => {
    for (let number = next++; number < outcomes.length; number = next++) {
      await runOne(workflows, outcomes[number]!, { number, sleepMs: options.sleepMs }, deadline);
      options.onFinished?.(++finished);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.window, outcomes.length) }, lane));
  return outcomes;
}

async function runOne(
  workflows: Workflows,
  outcome: Outcome,
  input: { number: number; sleepMs: number },
  deadline: number,
): Promise<void> {
  try {
    if (Date.now() > deadline) throw new Error('not started: the time for all runs was up');
    const ref = await before(deadline, 'trigger', workflows[outcome.strategy].runNoWait(input));
    outcome.run = await ref.runId;
    outcome.answer = await before(deadline, `result of run ${outcome.run}`, ref.output);
    outcome.finishedAt = Date.now();
  } catch (err) {
    outcome.error = message(err);
  }
}

const before = <T>(deadline: number, what: string, promise: Promise<T>) =>
  within(Math.max(0, deadline - Date.now()), what, promise);

/** How GetRunDetails names the end of a run, and its outputs. */
export async function details(hatchet: HatchetClient, run: string): Promise<{ status: string; answer: unknown }> {
  const { status, taskRuns } = await hatchet.runs.getDetails(run);
  const answer = Object.fromEntries(Object.values(taskRuns).map((t) => [t.readableId, t.output]));
  return { status, answer };
}
