// The judge itself: faults are planted in the evidence and must be found.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { check, longestSilence } from './check.js';
import type { Event, Line } from './evidence.js';
import type { Outcome } from './load.js';

const tasks = ['left', 'right', 'join'] as const;

function line(event: Event, task: string, over: Partial<Line> = {}): Line {
  const name = over.worker ?? 'w1';
  return { event, at: 0, pid: 1, name, worker: 'w1', taskRun: `r1-${task}`, run: 'r1', workflow: 'storm-hard', task, attempt: 0, ...over };
}

const good = (): Line[] => tasks.flatMap((task) => [line('begin', task), line('end', task)]);

const outcome = (over: Partial<Outcome> = {}): Outcome => {
  const where = { worker: 'w1' };
  return { strategy: 'hard', run: 'r1', answer: { left: where, right: where, join: where }, ...over };
};

test('a good run is complete, on one worker, and without faults', () => {
  const found = check([outcome()], good());
  assert.deepEqual(found.hard, { runs: 1, complete: 1, oneWorker: 1 });
  assert.deepEqual(found.faults, []);
});

const planted: { name: string; outcome?: Outcome; lines: Line[]; fault: RegExp }[] = [
  { name: 'a task that ended twice', lines: [...good(), line('end', 'left', { attempt: 1 })], fault: /ended 2 times/ },
  { name: 'an attempt that began twice', lines: [...good(), line('begin', 'left')], fault: /began 2 times/ },
  { name: 'an execution elsewhere', lines: [...good(), line('begin', 'join', { worker: 'w2', attempt: 1 })], fault: /on 2 workers/ },
  { name: 'no answer', outcome: { strategy: 'hard', run: 'r1', error: 'late' }, lines: good(), fault: /late/ },
  { name: 'an answer that nothing shows', lines: good().slice(0, 5), fault: /no evidence says/ },
  { name: 'a run that nobody asked for', lines: [...good(), line('begin', 'left', { run: 'r2', taskRun: 'r2-left' })], fault: /knows no such run/ },
];

for (const { name, outcome: given, lines, fault } of planted) {
  test(`finds ${name}`, () => {
    const { faults } = check([given ?? outcome()], lines);
    assert.ok(faults.some((text) => fault.test(text)), faults.join('\n'));
  });
}

test('a SOFT run may move only where that is expected', () => {
  const lines = good().map((l, k) => ({ ...l, workflow: 'storm-soft', worker: k > 3 ? 'w2' : 'w1' }));
  const moved = outcome({ strategy: 'soft', answer: { left: { worker: 'w1' }, right: { worker: 'w1' }, join: { worker: 'w2' } } });
  assert.match(check([moved], lines).faults.join(), /soft run r1 ran on 2 workers/);
  assert.deepEqual(check([moved], lines, { softMayMove: true }).faults, []);
});

test('the longest silence counts from the given time', () => {
  const lines = [100, 900, 4_900, 5_000].map((at) => line('begin', 'left', { at }));
  assert.equal(longestSilence(lines, 500), 4);
  assert.equal(longestSilence(lines, 4_950), 0.05);
});
