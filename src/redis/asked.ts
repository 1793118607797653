import { FerryError } from '../errors.ts';

/** How a Redis begins that has understood and will not. */
export const REFUSED =
  /^(READONLY|OOM|MISCONF|NOPERM|NOAUTH|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS)\b/;
export const LOOK_AFTER =
  'Look after the server: its role, its memory, its disk, the rights of the user.';

/**
 * Asks Redis. What it or BullMQ throw says that Redis is away, busy or broken: that is nobody's fault
 * who asked.
 *
 * @throws FerryError REDIS_UNAVAILABLE; others as they come
 */
export async function asked<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    if (error instanceof FerryError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    if (REFUSED.test(message)) {
      // Where in a script it was is of use to nobody.
      const said = message.replace(/ script: [\s\S]*$/, '');
      throw new FerryError('REDIS_UNAVAILABLE', `Redis answers, but takes no writes: ${said}`, {
        cause: error,
        hint: LOOK_AFTER,
      });
    }
    throw new FerryError('REDIS_UNAVAILABLE', `Redis did not answer as it should: ${message}`, {
      cause: error,
    });
  }
}
