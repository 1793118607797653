import { FerryError } from '../errors.ts';

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
    throw new FerryError('REDIS_UNAVAILABLE', `Redis did not answer as it should: ${message}`, {
      cause: error,
    });
  }
}
