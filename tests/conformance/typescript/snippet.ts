// The page's own program. It does not show its child, which is declared here as
// the page says a sticky child must be.
import { type HatchetClient, StickyStrategy } from '@hatchet-dev/typescript-sdk';

export function declareSnippet(hatchet: HatchetClient) {
  const child = hatchet.task({
    name: 'child',
    sticky: StickyStrategy.SOFT,
    fn: async (input: { N: number }, ctx) => ({ worker: ctx.worker.id() ?? '', N: input.N }),
  });

  const sticky = hatchet.task({
    name: 'sticky',
    retries: 3,
    sticky: StickyStrategy.SOFT,
    fn: async (_, ctx) => {
      // specify a child workflow to run on the same worker
      const result = await child.run(
        {
          N: 1,
        },
        { sticky: true },
      );

      return {
        result,
      };
    },
  });
  return { child, sticky };
}
