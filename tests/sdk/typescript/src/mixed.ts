// A worker of the workflow `mixed`, which workers of several SDKs serve together:
// node --import tsx src/mixed.ts NAME
import { HatchetClient, StickyStrategy } from '@hatchet-dev/typescript-sdk';

type Hold = { FirstMs: number; AgainMs: number };
type Ran = { Worker: string; Attempt: number };

const hatchet = HatchetClient.init();
const mixed = hatchet.workflow<Hold, { first: Ran; second: Ran }>({ name: 'mixed', sticky: StickyStrategy.HARD });

async function body(input: Hold, ctx: { worker: { id(): string | undefined }; retryCount(): number }): Promise<Ran> {
  const attempt = ctx.retryCount();
  await new Promise((done) => setTimeout(done, attempt > 0 ? input.AgainMs : input.FirstMs));
  return { Worker: ctx.worker.id() ?? '', Attempt: attempt };
}

const first = mixed.task({ name: 'first', fn: body });
mixed.task({ name: 'second', parents: [first], fn: body });

const worker = await hatchet.worker(process.argv[2] ?? 'typescript', { workflows: [mixed], slots: 10 });
await worker.start();
