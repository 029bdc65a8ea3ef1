// What the worker offers and the runner starts: both import this file, so a
// workflow has one definition.
import { HatchetClient, StickyStrategy } from '@hatchet-dev/typescript-sdk';

// Token, address and TLS strategy come from HATCHET_CLIENT_* in the environment.
export const hatchet = HatchetClient.init();

/** Which worker a task ran on. */
export type Where = { worker: string };

export type ChildInput = { N: number };

/** The child declares a strategy too: only a sticky child can follow its parent. */
export const child = hatchet.task({
  name: 'child',
  sticky: StickyStrategy.SOFT,
  fn: async (input: ChildInput, ctx): Promise<Where & ChildInput> => ({
    worker: ctx.worker.id() ?? '',
    N: input.N,
  }),
});

/** A task that spawns its child on its own worker. */
export const sticky = hatchet.task({
  name: 'sticky',
  retries: 3,
  sticky: StickyStrategy.SOFT,
  fn: async (_: {}, ctx): Promise<Where & { result: Where & ChildInput }> => {
    // specify a child workflow to run on the same worker
    const result = await child.run(
      {
        N: 1,
      },
      { sticky: true },
    );

    return {
      worker: ctx.worker.id() ?? '',
      result,
    };
  },
});

/** `sleep` is for how many seconds step1a is busy: time to end its worker. */
export type DagInput = { sleep?: number };

/** What a run of the DAG below answers: one result for each of its tasks. */
export type DagOutput = { step1a: Where; step1b: Where; step2: Where & { child: string } };

function declareDag(name: string, strategy: StickyStrategy) {
  const dag = hatchet.workflow<DagInput, DagOutput>({ name, sticky: strategy });

  const step1a = dag.task({
    name: 'step1a',
    fn: async (input, ctx) => {
      await new Promise((done) => setTimeout(done, 1000 * (input.sleep ?? 0)));
      return { worker: ctx.worker.id() ?? '' };
    },
  });

  const step1b = dag.task({
    name: 'step1b',
    fn: async (_, ctx) => ({ worker: ctx.worker.id() ?? '' }),
  });

  dag.task({
    name: 'step2',
    parents: [step1a, step1b],
    fn: async (_, ctx) => {
      const result = await child.run({ N: 2 }, { sticky: true });
      return { worker: ctx.worker.id() ?? '', child: result.worker };
    },
  });

  return dag;
}

/** Two parallel steps, a step that waits for both, and its child: SOFT. */
export const softDag = declareDag('sticky-dag', StickyStrategy.SOFT);

/** The same on one worker only, whatever happens to it: HARD. */
export const hardDag = declareDag('sticky-dag-hard', StickyStrategy.HARD);

export const workflows = [child, sticky, softDag, hardDag];
