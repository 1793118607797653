import { Worker } from 'node:worker_threads';

/** More than this are rarely busy at once, and each takes some megabytes. */
const MAX_IDLE = 4;
const IDLE_MS = 60_000;

/** Threads that hash, waiting for the next file: to start one takes longer than to hash a small file. */
const idle = new Map<Worker, NodeJS.Timeout>();

/** A thread that nobody else uses; to be given back, or terminated where it may still be busy. */
export function takeThread(): Worker {
  const [waiting] = idle.keys();
  if (!waiting) return startThread();
  forget(waiting);
  return waiting;
}

export function giveBackThread(thread: Worker): void {
  if (idle.size >= MAX_IDLE) return void thread.terminate();
  const timer = setTimeout(() => {
    forget(thread);
    void thread.terminate();
  }, IDLE_MS);
  idle.set(thread, timer.unref());
}

/** Ends the threads that wait for the next file. */
export async function endThreads(): Promise<void> {
  const threads = [...idle.keys()];
  threads.forEach(forget);
  await Promise.all(threads.map((thread) => thread.terminate()));
}

function startThread(): Worker {
  const thread = new Worker(new URL('./digest-thread.js', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 8 },
  });
  thread.unref();
  thread.on('error', () => forget(thread)); // whoever uses it hears it as well
  thread.on('exit', () => forget(thread));
  return thread;
}

function forget(thread: Worker): void {
  clearTimeout(idle.get(thread));
  idle.delete(thread);
}
