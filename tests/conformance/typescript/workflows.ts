// The workflows that show whether the promises are kept. Driver and workers
// declare the same ones; only the bodies, which run in a worker, write evidence.
import { type Context, type HatchetClient, StickyStrategy } from '@hatchet-dev/typescript-sdk';

import type { Recorder } from '../../sdk/typescript/src/evidence.js';
import { message, sleep } from '../../sdk/typescript/src/wait.js';
import { declareSnippet } from './snippet.js';

export type Where = { worker: string };
export type Way = 'run' | 'runchild' | 'runmany';
export const ways: readonly Way[] = ['run', 'runchild', 'runmany'];
/** How a child that must not be spawned was refused, by way; '' if it was not. */
export type Refusals = Record<Way, string>;
type Strategy = (typeof StickyStrategy)[keyof typeof StickyStrategy];
type Nothing = Record<string, never>;

/** Failing attempts of a flaky task before one succeeds. */
export const failures = 2;

export function declareAll(hatchet: HatchetClient, recorder?: Recorder) {
  const write = (event: 'begin' | 'end', task: string, ctx: Context<any>) => {
    const worker = ctx.worker.id() ?? '';
    recorder?.write(event, {
      worker,
      task,
      taskRun: ctx.taskRunExternalId(),
      run: ctx.workflowRunId(),
      workflow: ctx.workflowNameV1(),
      attempt: ctx.retryCount(),
    });
    return { worker };
  };
  /** A body that records and sleeps. */
  const body = (task: string, ms: number) => async (_: Nothing, ctx: Context<any>): Promise<Where> => {
    write('begin', task, ctx);
    await sleep(ms);
    return write('end', task, ctx);
  };
  /** A chain of tasks, each of which waits for the one before. */
  const chain = (name: string, sticky: Strategy, scheduleTimeout: `${number}s`, bodies: Record<string, number>) => {
    const workflow = hatchet.workflow<Nothing, Record<string, Where>>({ name, sticky });
    let before: ReturnType<typeof workflow.task>[] = [];
    for (const [task, ms] of Object.entries(bodies)) {
      before = [workflow.task({ name: task, parents: before, scheduleTimeout, fn: body(task, ms) })];
    }
    return workflow;
  };
  /** Two parallel roots and a step that waits for both. */
  const dag = (name: string, sticky: Strategy) => {
    const workflow = hatchet.workflow<Nothing, Record<string, Where>>({ name, sticky });
    const left = workflow.task({ name: 'left', fn: body('left', 150) });
    const right = workflow.task({ name: 'right', fn: body('right', 150) });
    workflow.task({ name: 'join', parents: [left, right], fn: body('join', 20) });
    return workflow;
  };
  /** A root that pins the run, then a task whose first attempts fail. */
  const flaky = (name: string, sticky: Strategy) => {
    const workflow = hatchet.workflow<Nothing, Record<string, Where>>({ name, sticky });
    const left = workflow.task({ name: 'left', fn: body('left', 20) });
    // Task runs whose node died are assigned again: the attempt's number alone does not count failures.
    const failed = new Map<string, number>();
    workflow.task({
      name: 'flaky',
      parents: [left],
      retries: failures + 1,
      fn: async (_, ctx) => {
        const place = write('begin', 'flaky', ctx);
        const before = failed.get(ctx.taskRunExternalId()) ?? 0;
        if (before < failures) {
          failed.set(ctx.taskRunExternalId(), before + 1);
          throw new Error(`attempt ${ctx.retryCount()} fails on purpose`);
        }
        return place;
      },
    });
    return workflow;
  };
  const leaf = (name: string, sticky?: Strategy) =>
    hatchet.task({ name, ...(sticky === undefined ? {} : { sticky }), fn: body(name, 10) });

  const child = leaf('conform-child', StickyStrategy.SOFT);
  const plain = leaf('conform-plain');
  const plainRun = leaf('conform-plain-run');
  const absent = leaf('conform-absent', StickyStrategy.SOFT);
  const absentRun = leaf('conform-absent-run', StickyStrategy.SOFT);
  const slotSoft = leaf('conform-slot-soft-child', StickyStrategy.SOFT);
  const slotHard = leaf('conform-slot-hard-child', StickyStrategy.HARD);

  const spawn = async (ctx: Context<any>, of: typeof child, way: Way, count: number): Promise<Where[]> => {
    const each = Array.from({ length: count }, () => ({}) as Nothing);
    if (way === 'runmany') return of.runMany(each.map((input) => ({ input, opts: { sticky: true } })));
    if (way === 'run') return Promise.all(each.map((input) => of.run(input, { sticky: true })));
    return Promise.all(each.map((input) => ctx.runChild<Nothing, Where>(of, input, { sticky: true })));
  };
  const parent = hatchet.task({
    name: 'conform-parent',
    sticky: StickyStrategy.SOFT,
    executionTimeout: '40s',
    fn: async (input: { way: Way; count: number }, ctx): Promise<Where & { children: string[] }> => {
      const place = write('begin', 'parent', ctx);
      const places = await spawn(ctx, child, input.way, input.count);
      return { ...place, children: places.map((p) => p.worker) };
    },
  });
  const refused = hatchet.task({
    name: 'conform-refused',
    sticky: StickyStrategy.SOFT,
    executionTimeout: '40s',
    // What one call created must not answer the next one: the calls share an index of
    // children, so those that are refused come first, one after the other.
    fn: async ({ kind }: { kind: 'plain' | 'absent' }, ctx): Promise<Where & { refusals: Refusals }> => {
      const text = (spawned: Promise<unknown>) => spawned.then(() => '', (err: unknown) => message(err) || 'an error without a text');
      const place = write('begin', 'refused', ctx);
      const [by, byRun] = kind === 'plain' ? [plain, plainRun] : [absent, absentRun];
      const runchild = await text(ctx.runChild(by, {}, { sticky: true }));
      const runmany = await text(by.runManyNoWait([{ input: {}, opts: { sticky: true } }]));
      const run = await text(byRun.runNoWait({}, { sticky: true }));
      return { ...place, refusals: { run, runchild, runmany } };
    },
  });
  const slotParent = hatchet.task({
    name: 'conform-slot-parent',
    sticky: StickyStrategy.SOFT,
    executionTimeout: '12s',
    fn: async (input: { hard: boolean }, ctx): Promise<Where & { child: string; refused: string }> => {
      const place = write('begin', 'slot-parent', ctx);
      try {
        const spawned = await ctx.runNoWaitChild<Nothing, Where>(input.hard ? slotHard : slotSoft, {}, { sticky: true });
        return { ...place, child: (await spawned.output).worker, refused: '' };
      } catch (err) {
        return { ...place, child: '', refused: message(err) };
      }
    },
  });
  const { SOFT, HARD } = StickyStrategy;
  return {
    main: {
      soft: dag('conform-soft', SOFT),
      hard: dag('conform-hard', HARD),
      flakySoft: flaky('conform-flaky-soft', SOFT),
      flakyHard: flaky('conform-flaky-hard', HARD),
      ...{ child, plain, plainRun, parent, refused },
      ...(({ child: snippetChild, sticky }) => ({ snippetChild, sticky }))(declareSnippet(hatchet)),
    },
    /** For workers with one slot, which are also the only ones that know the absent ones. */
    narrow: { slotParent, slotSoft, slotHard, absent, absentRun },
    /** For workers that are paused, frozen and killed. */
    upset: {
      hold: chain('conform-hold', HARD, '60s', { first: 2000, second: 20 }),
      move: chain('conform-move', SOFT, '60s', { first: 500, second: 1000, third: 20 }),
      strand: chain('conform-strand', HARD, '4s', { first: 1500, second: 20 }),
    },
  };
}

export type Workflows = ReturnType<typeof declareAll>;
export type Group = keyof Workflows;
