// The workflows of the storm. Driver and workers declare the same ones; only
// the bodies, which run in a worker, write evidence.
import { type Context, type HatchetClient, StickyStrategy } from '@hatchet-dev/typescript-sdk';

import type { Recorder } from './evidence.js';
import { message } from './wait.js';

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

/** What a parent saw: where its children ran, and how the ones it must not spawn were refused. */
export type Family = Where & { children: string[]; refused: { plain: string; absent: string } };

/**
 * A parent that spawns sticky children. One kind has no sticky strategy and one
 * is not registered with the parent's worker: those must be refused.
 */
function declareFamily(hatchet: HatchetClient) {
  const where = async (_: {}, ctx: Context<{}>): Promise<Where> => ({ worker: ctx.worker.id() ?? '' });
  const child = hatchet.task({ name: 'storm-child', sticky: StickyStrategy.SOFT, fn: where });
  const plain = hatchet.task({ name: 'storm-child-plain', fn: where });
  const absent = hatchet.task({ name: 'storm-child-absent', sticky: StickyStrategy.SOFT, fn: where });
  const refusal = (spawned: Promise<Where>) => spawned.then(() => '', (err: unknown) => message(err));
  const parent = hatchet.task({
    name: 'storm-parent',
    sticky: StickyStrategy.HARD,
    executionTimeout: '60s',
    fn: async (input: { tryForbidden: boolean }, ctx: Context<any>): Promise<Family> => {
      // The SDK sends the worker's id with the first two ways and not with the third.
      const spawned = [
        ctx.runChild<{}, Where>(child, {}, { sticky: true }),
        ctx.runChild<{}, Where>(child, {}, { sticky: true }),
        child.run({}, { sticky: true }),
      ];
      const children = (await Promise.all(spawned)).map((place) => place.worker);
      const refused = { plain: '', absent: '' };
      if (input.tryForbidden) {
        refused.plain = await refusal(ctx.runChild<{}, Where>(plain, {}, { sticky: true }));
        refused.absent = await refusal(ctx.runChild<{}, Where>(absent, {}, { sticky: true }));
      }
      return { worker: ctx.worker.id() ?? '', children, refused };
    },
  });
  return { parent, child, plain, absent };
}

/** Declares all of them for this client; without a recorder for a driver. */
export function declareAll(hatchet: HatchetClient, recorder?: Recorder) {
  return {
    hard: declareStorm(hatchet, recorder, 'hard'),
    soft: declareStorm(hatchet, recorder, 'soft'),
    stranded: declareStranded(hatchet, recorder),
    ...declareFamily(hatchet),
  };
}

export type Workflows = ReturnType<typeof declareAll>;
