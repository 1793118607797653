import { afterAll } from '@jest/globals';
import { endParsers } from '../../src/ovf/read-descriptor.ts';
import { endThreads } from '../../src/source/digest-threads.ts';
import { childrenOf } from './processes.ts';
import { closeSandbox } from './sandbox.ts';

/** Runs around every file of tests: one that leaves a process or a folder behind fails. */
const before = new Set(childrenOf(process.pid).map(({ pid }) => pid));

afterAll(async () => {
  endParsers(); // they would wait for more
  await endThreads();
  const { processes, files } = await closeSandbox(before);
  const left = [...processes.map(({ pid, command }) => `process ${pid}: ${command}`), ...files];
  if (left.length > 0) throw new Error(`left behind by these tests:\n${left.join('\n')}`);
}, 120_000);
