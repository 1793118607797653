import { jest } from '@jest/globals';

/** Everything but `Date` goes on as it does. */
const REAL = [
  ...(['hrtime', 'nextTick', 'performance', 'queueMicrotask'] as const),
  ...(['setImmediate', 'clearImmediate', 'setInterval', 'clearInterval'] as const),
  ...(['setTimeout', 'clearTimeout'] as const),
];

/** The time of day of this process, which stands still until it is moved. */
export interface Clock {
  forward(ms: number): void;
}

/** Sets the time of day by hand, so that hours pass at once, and none while a machine is busy. */
export async function withClock<T>(use: (clock: Clock) => Promise<T>): Promise<T> {
  let now = Date.now();
  jest.useFakeTimers({ doNotFake: REAL, now });
  try {
    return await use({
      forward(ms) {
        now += ms;
        jest.setSystemTime(now);
      },
    });
  } finally {
    jest.useRealTimers();
  }
}
