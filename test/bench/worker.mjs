// A worker that can say how long its event loop was ever blocked. Started by bench.mjs.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { loadConfig } from '../../dist/config/load.js';
import { startWorker } from '../../dist/worker.js';

const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: console.error, error: console.error };
const delay = monitorEventLoopDelay({ resolution: 5 });
const worker = await startWorker(loadConfig({ file: process.argv[2] }), log);
delay.enable();
process.on('message', async (message) => {
  if (message === 'reset') delay.reset();
  if (message === 'delay') process.send({ maxDelayMs: delay.max / 1e6 });
  if (message === 'stop') {
    await worker.stop();
    process.exit(0);
  }
});
process.send('up');
