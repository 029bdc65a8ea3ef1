// Promises about workers that stay: one round puts each to several runs.
import type { Line } from '../../sdk/typescript/src/evidence.js';
import { message } from '../../sdk/typescript/src/wait.js';
import type { PromiseId } from './ledger.js';
import type { Stage } from './stage.js';
import { failures, type Way, ways, type Where } from './workflows.js';

const times = <T>(count: number, f: (k: number) => Promise<T>) => Promise.all(Array.from({ length: count }, (_, k) => f(k)));
const at = (lines: Line[]) => lines.map((l) => `${l.task}#${l.attempt} on ${l.name}`).join(', ');

/** Whether all bodies ran in one worker process and were given its one id. */
const together = (lines: Line[]) => new Set(lines.map((l) => `${l.name} ${l.worker}`)).size === 1 && lines[0]!.worker !== '';

export async function steadyRound(stage: Stage, runs: number, fanOuts: number, slotRuns: number): Promise<void> {
  const beside = oneSlot(stage, slotRuns);
  await Promise.all([dags(stage, 'soft', runs), dags(stage, 'hard', runs)]);
  await Promise.all([retries(stage, runs), snippet(stage, runs)]);
  for (const way of ways) await times(runs, () => family(stage, way, 2, `child-on-parents-worker-${way}`));
  await webhook(stage);
  // One at a time: two parents on one worker would need more slots than it has.
  for (let k = 0; k < fanOuts; k++) await family(stage, 'runmany', 100, 'fan-out-100');
  await beside;
}

async function dags(stage: Stage, strategy: 'soft' | 'hard', runs: number): Promise<void> {
  const { ledger } = stage;
  const id: PromiseId = `${strategy}-same-worker`;
  const all = ['left', 'right', 'join'];
  await times(runs, async () => {
    const { run, answer, error } = await stage.play(() => stage.workflows.main[strategy].runNoWait({}));
    if (answer === undefined) return ledger.miss(id, `run ${run || '(not acknowledged)'}: ${error}`);
    const lines = stage.begun(run);
    const ids = all.map((task) => answer[task]?.worker ?? '');
    const whole = all.every((task) => lines.some((l) => l.task === task));
    ledger.check(id, whole && together(lines), `run ${run}: ${at(lines)}`, ids[0]);
    const same = new Set(ids).size === 1 && ids[0] !== '' && lines.every((l) => l.worker === ids[0]);
    ledger.check('worker-id-equal-in-all-tasks', same, `run ${run} answered ${ids.join(', ')}`);
    const roots = lines.filter((l) => l.task !== 'join');
    ledger.check('parallel-roots-together', roots.length > 1 && together(roots), `run ${run}: ${at(roots)}`, ids[0]);
  });
}

async function retries(stage: Stage, runs: number): Promise<void> {
  const id = 'retries-stay-on-the-worker';
  const { flakySoft, flakyHard } = stage.workflows.main;
  await times(runs, async (k) => {
    const { run, answer, error } = await stage.play(() => (k % 2 === 0 ? flakySoft : flakyHard).runNoWait({}));
    const lines = stage.begun(run);
    // Attempts elsewhere break the promise even if the run did not end well.
    if (answer === undefined && (lines.length === 0 || together(lines))) return stage.ledger.miss(id, `run ${run}: ${error}`);
    const attempts = lines.filter((l) => l.task === 'flaky').length;
    stage.ledger.check(id, attempts > failures && together(lines), `run ${run}: ${at(lines)}`, lines[0]?.worker);
  });
}

async function family(stage: Stage, way: Way, count: number, id: PromiseId): Promise<void> {
  const { run, answer, error } = await stage.play(() => stage.workflows.main.parent.runNoWait({ way, count }));
  if (answer === undefined) return stage.ledger.miss(id, `run ${run}: ${error}`);
  const here = answer.children.filter((worker) => worker === answer.worker).length;
  const ok = here === count && answer.children.length === count;
  stage.ledger.check(id, ok, `${here} of ${answer.children.length} children on the parent's worker`, answer.worker);
}

/** The page's program says nothing about where the parent ran: the nodes do. */
async function snippet(stage: Stage, runs: number): Promise<void> {
  await times(runs, async () => {
    const { run, answer, error } = await stage.play(() => stage.workflows.main.sticky.runNoWait({}));
    if (answer === undefined) return stage.ledger.miss('snippet', `run ${run}: ${error}`);
    const child = (answer as { result: Where }).result.worker;
    const { tasks } = await stage.show(run);
    const parent = tasks[0]?.worker ?? '';
    stage.ledger.check('snippet', parent !== '' && parent === child, `sticky on ${parent}, its child on ${child}`, parent);
  });
}

/** A round of its own: the SDK repeats a bulk call eight times whatever the refusal, which takes 13 s. */
export async function refusalRound(stage: Stage, runs: number): Promise<void> {
  await times(runs, () => refusals(stage));
}

async function refusals(stage: Stage): Promise<void> {
  const { ledger } = stage;
  const kinds = [
    ['child-refused-without-strategy', 'plain', /strateg/i, 'conform-plain'],
    ['child-refused-not-registered', 'absent', /regist/i, 'conform-absent'],
  ] as const;
  const judge = async ([id, kind, expected, name]: (typeof kinds)[number]) => {
    const { answer, run, error } = await stage.play(() => stage.workflows.main.refused.runNoWait({ kind }));
    if (answer === undefined) return ledger.miss(id, `run ${run}: ${error}`);
    for (const way of ['runchild', 'runmany'] as const) {
      const text = answer.refusals[way];
      if (text !== '' && !expected.test(text)) ledger.miss(id, `${way}: ${text}`);
      else ledger.check(id, text !== '', `${way}: not refused`);
      if (expected.test(text)) ledger.note(id, `${way}: ${text}`);
    }
    const created = await stage.cluster.ask<unknown[]>('run', 'list', '--workflow', name);
    if (created.length > 0) ledger.check(id, false, `${created.length} runs of ${name} were created`);

    // run() tells the server nothing of sticky, so the server cannot refuse it.
    const byRun: PromiseId = `${id}-run`;
    const text = answer.refusals.run;
    if (expected.test(text)) ledger.check(byRun, true, '');
    else ledger.notApplicable(byRun, `the SDK's run() sends no sign of sticky, so no server can refuse it; ${text || 'it started an ordinary child'}`);
  };
  await Promise.all(kinds.map(judge));
}

/** The registration call as a webhook worker makes it, over the SDK's own channel. */
async function webhook(stage: Stage): Promise<void> {
  const id = 'webhook-worker-refused';
  const request = { workerName: 'webhook', actions: ['conform-child:conform-child'], services: [], slots: 1, labels: {} };
  const { client } = stage.hatchet.dispatcher;
  try {
    await client.register({ ...request, webhookId: '5d3fb4d7-6b6f-4c1a-9d0e-2f1f0a7c9b11' });
    stage.ledger.check(id, false, 'a worker with a webhook id was registered');
  } catch (err) {
    const text = message(err);
    if (/webhook/i.test(text)) {
      stage.ledger.check(id, true, '');
      stage.ledger.note(id, text);
    } else stage.ledger.miss(id, text);
  }
}

/** Parents that wait for their sticky child on a worker with one slot. */
async function oneSlot(stage: Stage, runs: number): Promise<void> {
  const id = 'slots-1-parent';
  let left = runs;
  let stuck = 0;
  const lane = async () => {
    // What is stuck keeps the only slot; two of them tell enough.
    while (left-- > 0 && stuck < 2) {
      const hard = left % 2 === 0;
      const from = Date.now();
      const { run, answer, error } = await stage.play(() => stage.workflows.narrow.slotParent.runNoWait({ hard }));
      const seconds = (Date.now() - from) / 1000;
      const what = `${hard ? 'HARD' : 'SOFT'} child`;
      if (answer === undefined) {
        if (error.includes('not acknowledged') || run === '') stage.ledger.miss(id, error);
        else {
          stuck++;
          stage.ledger.check(id, false, `${what}: run ${run} ended after ${seconds.toFixed(1)} s: ${error}`);
        }
        continue;
      }
      if (answer.refused !== '' && !/slot/i.test(answer.refused)) stage.ledger.miss(id, `${what}: ${answer.refused}`);
      else stage.ledger.check(id, !hard || answer.refused !== '' || answer.child === answer.worker, `${what} on ${answer.child}, its parent on ${answer.worker}`);
      const how = answer.refused !== '' ? `refused: ${answer.refused}` : answer.child === answer.worker ? "done on the parent's worker" : 'done on another worker';
      stage.ledger.note(id, `${what} ${how}`);
    }
  };
  await Promise.all([lane(), lane()]);
}
