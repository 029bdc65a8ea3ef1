// Evidence: what task bodies themselves wrote down, independent of what any
// server says. One file for each worker process, one JSON object on each line,
// written with a system call of its own, so that SIGKILL loses no line.
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Event = 'ready' | 'begin' | 'end';

export type Line = {
  event: Event;
  /** Milliseconds of the machine's clock; all processes share it. */
  at: number;
  pid: number;
  /** Name of the worker process. */
  name: string;
  /** Worker id as the SDK gave it to the task. */
  worker: string;
  taskRun: string;
  run: string;
  workflow: string;
  task: string;
  /** retry_count of the assignment. */
  attempt: number;
};

export class Recorder {
  readonly #file: string;

  constructor(dir: string, private readonly name: string) {
    this.#file = join(dir, `${name}-${process.pid}.jsonl`);
  }

  write(event: Event, of: Partial<Omit<Line, 'event' | 'at' | 'pid' | 'name'>> = {}): void {
    const line: Line = {
      event,
      at: Date.now(),
      pid: process.pid,
      name: this.name,
      worker: '',
      taskRun: '',
      run: '',
      workflow: '',
      task: '',
      attempt: 0,
      ...of,
    };
    appendFileSync(this.#file, JSON.stringify(line) + '\n');
  }
}

/** All lines of all workers, by time. A last line that is still being written is left out. */
export function readEvidence(dir: string): Line[] {
  const lines: Line[] = [];
  for (const file of readdirSync(dir)) {
    if (!file.endsWith('.jsonl')) continue;
    const text = readFileSync(join(dir, file), 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    for (const row of whole.split('\n')) {
      if (row !== '') lines.push(JSON.parse(row) as Line);
    }
  }
  return lines.sort((a, b) => a.at - b.at);
}
