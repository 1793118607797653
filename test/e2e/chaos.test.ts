import { expect, test } from '@jest/globals';
import { runChaos } from '../chaos/chaos.ts';

test('whatever dies and breaks meanwhile, every upload arrives whole and once', async () => {
  const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
  const report = await runChaos({
    uploads: 40,
    seed,
    workers: 3,
    atLeast: {
      'worker killed': 5,
      'redis killed': 1,
      'worker frozen': 1,
      'worker terminated': 1,
      'simulator restarted': 1,
      'checkpoint deleted': 1,
      'redis rolled back': 1,
    },
    limitMs: 180_000,
    say: () => undefined,
  });
  expect({ seed, wrong: report.wrong }).toEqual({ seed, wrong: [] });
}, 400_000);
