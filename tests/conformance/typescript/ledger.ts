// What was observed of each promise, and the rows that say so.

export const promises = [
  'snippet',
  'soft-same-worker',
  'soft-moves-when-worker-goes',
  'hard-same-worker',
  'hard-waits-and-finishes-when-worker-returns',
  'hard-schedule-timeout-with-message',
  'parallel-roots-together',
  'worker-id-equal-in-all-tasks',
  'retries-stay-on-the-worker',
  'child-on-parents-worker-run',
  'child-on-parents-worker-runchild',
  'child-on-parents-worker-runmany',
  'child-refused-without-strategy',
  'child-refused-without-strategy-run',
  'child-refused-not-registered',
  'child-refused-not-registered-run',
  'webhook-worker-refused',
  'fan-out-100',
  'slots-1-parent',
] as const;

export type PromiseId = (typeof promises)[number];

/** Those of which one worker shows nothing: they could not have been broken. */
const needTwoWorkers = new Set<PromiseId>([
  'snippet',
  'soft-same-worker',
  'hard-same-worker',
  'parallel-roots-together',
  'retries-stay-on-the-worker',
  'child-on-parents-worker-run',
  'child-on-parents-worker-runchild',
  'child-on-parents-worker-runmany',
]);

const shownNotes = 3;

class Entry {
  kept = 0;
  faults: string[] = [];
  missed: string[] = [];
  absent = '';
  notes = new Map<string, number>();
  workers = new Set<string>();
}

export class Ledger {
  readonly #entries = new Map<PromiseId, Entry>();
  retried = 0;

  /** strict: nothing disturbs the cluster, so a call that fails breaks the promise. */
  constructor(private readonly strict: boolean) {
    for (const id of promises) this.#entries.set(id, new Entry());
  }

  #of(id: PromiseId): Entry {
    return this.#entries.get(id)!;
  }

  /** Keeps or breaks a promise; says which worker the run was on. */
  check(id: PromiseId, ok: boolean, fault: string, worker?: string): void {
    const entry = this.#of(id);
    if (worker !== undefined) entry.workers.add(worker);
    if (ok) entry.kept++;
    else entry.faults.push(fault);
  }

  /** A run of which the promise cannot be judged, since something else failed. */
  miss(id: PromiseId, text: string): void {
    if (this.strict) this.#of(id).faults.push(text);
    else this.#of(id).missed.push(text);
  }

  /** Something worth saying; the same text is said once, with how often. */
  note(id: PromiseId, text: string): void {
    const { notes } = this.#of(id);
    const plain = text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID').replace(/\d+s ago/g, 'some s ago');
    notes.set(plain, (notes.get(plain) ?? 0) + 1);
  }

  /** The promise cannot be put to this SDK, and why. A fault weighs more. */
  notApplicable(id: PromiseId, why: string): void {
    this.#of(id).absent = why;
  }

  rows(mode: string, more: string): string[] {
    return promises.map((id) => {
      const { verdict, parts } = this.#judge(id);
      const note = [...parts, more].filter((part) => part !== '').join('; ');
      return ['ROW', 'typescript', mode, id, verdict, note.split(/\s+/).join(' ')].join('\t');
    });
  }

  #judge(id: PromiseId): { verdict: string; parts: string[] } {
    const { kept, faults, missed, absent, notes, workers } = this.#of(id);
    const parts = [`${kept} of ${kept + faults.length} kept`];
    let verdict = 'kept';
    if (faults.length > 0) {
      verdict = 'broken';
      parts.push(`the first fault: ${short(faults[0]!)}`);
    } else if (absent !== '') {
      return { verdict: 'n/a', parts: [absent] };
    } else if (kept === 0) {
      verdict = 'n/a';
      parts[0] = 'nothing was observed';
    } else if (needTwoWorkers.has(id) && workers.size < 2) {
      verdict = 'n/a';
      parts.push('all runs were on one worker: nothing is shown');
    }
    if (workers.size > 0) parts.push(`on ${workers.size} workers`);
    if (missed.length > 0) parts.push(`${missed.length} runs not judged, the first: ${short(missed[0]!)}`);
    for (const [text, times] of [...notes].slice(0, shownNotes)) parts.push(times > 1 ? `${short(text)} (${times} times)` : short(text));
    return { verdict, parts };
  }
}

const short = (text: string) => (text.length > 260 ? `${text.slice(0, 257)}...` : text);
