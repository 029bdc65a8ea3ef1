// The workflows of the storm. Driver and workers declare the same ones; only
// the bodies, which run in a worker, write evidence.
import { type Context, type HatchetClient, StickyStrategy } from '@hatchet-dev/typescript-sdk';

import type { Recorder } from './evidence.js';

export type Where = { worker: string };

/** Answer of a storm run: each task says which worker it ran on. */
export type Answer = { left: Where; right: Where; join: Where };

export type Input = { number: number; sleepMs: number };

export type Strategy = 'hard' | 'soft';

/** The fields of a storm run, for checks. */
export const stormTasks = ['left', 'right', 'join'] as const;

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

/** A task body that records, sleeps and says where it ran. */
function body(recorder: Recorder | undefined, task: string, sleepMs: (input: Input) => number) {
  return async (input: Input, ctx: Context<Input>): Promise<Where> => {
    const worker = ctx.worker.id() ?? '';
    const of = {
      worker,
      task,
      taskRun: ctx.taskRunExternalId(),
      run: ctx.workflowRunId(),
      workflow: ctx.workflowNameV1(),
      attempt: ctx.retryCount(),
    };
    recorder?.write('begin', of);
    await sleep(sleepMs(input));
    recorder?.write('end', of);
    return { worker };
  };
}

/** Two parallel roots and a step that waits for both. */
function declareStorm(hatchet: HatchetClient, recorder: Recorder | undefined, strategy: Strategy) {
  const workflow = hatchet.workflow<Input, Answer>({
    name: `storm-${strategy}`,
    sticky: strategy === 'hard' ? StickyStrategy.HARD : StickyStrategy.SOFT,
  });
  const asAsked = (input: Input) => input.sleepMs;
  const left = workflow.task({ name: 'left', fn: body(recorder, 'left', asAsked) });
  const right = workflow.task({ name: 'right', fn: body(recorder, 'right', asAsked) });
  workflow.task({ name: 'join', parents: [left, right], fn: body(recorder, 'join', asAsked) });
  return workflow;
}

/** How long a step of the stranded workflow may wait for its worker. */
export const strandedTimeoutSeconds = 15;

/**
 * Two quick roots, then two long steps. On a worker with one slot one of the
 * long steps runs and the other waits: when that worker dies, one was never begun.
 */
function declareStranded(hatchet: HatchetClient, recorder: Recorder | undefined) {
  const workflow = hatchet.workflow<Input, Answer>({ name: 'storm-stranded', sticky: StickyStrategy.HARD });
  const quick = () => 50;
  const long = () => 120_000;
  const left = workflow.task({ name: 'left', fn: body(recorder, 'left', quick) });
  const right = workflow.task({ name: 'right', fn: body(recorder, 'right', quick) });
  for (const name of ['join', 'join-too'] as const) {
    workflow.task({
      name,
      parents: [left, right],
      scheduleTimeout: `${strandedTimeoutSeconds}s`,
      executionTimeout: '300s',
      fn: body(recorder, name, long),
    });
  }
  return workflow;
}

/** Declares all of them for this client; without a recorder for a driver. */
export function declareAll(hatchet: HatchetClient, recorder?: Recorder) {
  return {
    hard: declareStorm(hatchet, recorder, 'hard'),
    soft: declareStorm(hatchet, recorder, 'soft'),
    stranded: declareStranded(hatchet, recorder),
  };
}

export type Workflows = ReturnType<typeof declareAll>;
