import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { start } from '../helpers/cli.ts';
import { enqueued, isUp, jobsNow, untilAllOver, untilJobs, withPlace } from '../helpers/place.ts';

const MINUTE = 60_000;

/** Loaded before anything else: this process believes in another time than all others. */
const wrongBy = (ms: number): string => `
const now = Date.now;
Date.now = () => now() + ${ms};
`;

const REFUSED = {
  status: 400,
  body: '<Error xmlns="http://www.vmware.com/vcloud/v1.5" majorErrorCode="400" minorErrorCode="OPERATION_LIMITS_EXCEEDED" message="too many operations"/>',
};

test.each([10, -10])(
  'a worker whose clock is wrong by %i minutes waits as long as the others',
  (by) =>
    withPlace({}, async (place) => {
      const hook = join(place.folder, 'clock.mjs');
      await writeFile(hook, wrongBy(by * MINUTE));
      place.simulator.world.faults.add({
        ...{ on: { method: 'POST', path: 'action/upload' }, times: 3 },
        do: REFUSED,
      });
      const worker = start(['worker'], place.folder, { NODE_OPTIONS: `--import ${hook}` });
      try {
        await isUp(worker);
        const id = await enqueued(place);
        await untilJobs(place, [id], 'a second try', ([job]) => (job?.attempts ?? 0) >= 1);
        const since = performance.now();
        await untilAllOver(place, [id]);
        // Three pauses, from half a second on, each twice the one before; the first is under way.
        const ms = performance.now() - since;
        expect(ms).toBeGreaterThan(2_500);
        expect(ms).toBeLessThan(MINUTE);
        expect(await jobsNow(place, [id])).toMatchObject([{ state: 'completed', attempts: 4 }]);
      } finally {
        worker.kill('SIGKILL');
        await worker.ended;
      }
    }),
);
