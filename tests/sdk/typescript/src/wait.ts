export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Asks again until the answer is neither undefined nor false, or the time is up. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  everyMs = 100,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (err) {
      last = `: ${message(err)}`;
    }
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s for ${what}${last}`);
    await sleep(everyMs);
  }
}

/** The text of whatever was thrown; the SDK also rejects with an array of texts. */
export function message(err: unknown): string {
  if (Array.isArray(err)) return err.map(message).join('; ');
  return err instanceof Error ? err.message : String(err);
}

/** Rejects when the promise has not settled in time. */
export async function within<T>(timeoutMs: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1000} s: ${what}`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
