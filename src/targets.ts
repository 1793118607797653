import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from './config/load.ts';
import { FerryError } from './errors.ts';
import type { createLoginLock } from './jobs/login-lock.ts';
import type { TargetAccess } from './jobs/processor-world.ts';
import { TargetGate } from './jobs/target-gate.ts';
import { VcdClient } from './vcd/client.ts';

/** What has answered within this is there. */
const FRESH_MS = 5_000;
/** A look for jobs waits so long for an answer; the next look knows it. */
const AT_ONCE_MS = 300;

type LoginLock = ReturnType<typeof createLoginLock>;

interface OpenTargets {
  get(target: string): Promise<TargetAccess>;
  isDown(target: string): boolean;
  /** Whether it has answered this process of late. */
  hasAnswered(target: string): boolean;
  /** Whether it answers at once. */
  answers(target: string): Promise<boolean>;
  close(): void;
}

/**
 * One client for each target, with one login, shared by all uploads of this process.
 *
 * @param current the configuration as it is now: a password may have been corrected in it
 */
export function openTargets(
  current: () => Config,
  lockOf: (target: string) => LoginLock,
): OpenTargets {
  const opening = new Map<string, Promise<TargetAccess>>();
  const opened = new Map<string, TargetAccess>();
  const open = async (name: string): Promise<TargetAccess> => {
    const vcd = await createClient(current, name, lockOf(name));
    const gate = new TargetGate(async (signal) => {
      await vcd.probe(signal);
    });
    opened.set(name, { vcd, gate });
    return { vcd, gate };
  };
  const get = (name: string): Promise<TargetAccess> => {
    let access = opening.get(name);
    if (!access) {
      access = open(name);
      access.catch(() => opening.delete(name)); // a secret may be there the next time
      opening.set(name, access);
    }
    return access;
  };
  return {
    get,
    isDown: (name) => opened.get(name)?.gate.isDown ?? false,
    hasAnswered(name) {
      const answeredAt = opened.get(name)?.vcd.answeredAt() ?? Number.NEGATIVE_INFINITY;
      return performance.now() - answeredAt < FRESH_MS;
    },
    async answers(name) {
      try {
        const { gate } = await get(name);
        const answers = gate.answers(new AbortController().signal); // it ends with the gate
        return await Promise.race([answers, sleep(AT_ONCE_MS, false)]);
      } catch {
        return true; // its jobs say what is wrong
      }
    },
    close() {
      for (const { gate } of opened.values()) gate.close();
      for (const access of opening.values())
        void access.then(({ vcd }) => vcd.close()).catch(() => undefined);
    },
  };
}

/** Logs in under the lock; who asks alone, as `doctor` does, needs none. */
export async function createClient(
  current: () => Config,
  name: string,
  alone?: LoginLock,
): Promise<VcdClient> {
  const target = current().targets.get(name);
  if (!target) throw new FerryError('TARGET_UNKNOWN', `there is no target ${name}`);
  const { url, org, tenant, ca, certificateSha256, insecure, proxy } = await target.resolve();
  return new VcdClient({
    url,
    org,
    ...(tenant === undefined ? {} : { tenant }),
    credentials: async () => (await (current().targets.get(name) ?? target).resolve()).credentials,
    // With the lock, a rejection holds for all workers; here it only spans a burst of requests.
    rejectedPauseMs: alone ? 250 : 60_000,
    ...(alone ? { alone } : {}),
    trust: {
      insecure,
      ...(ca === undefined ? {} : { ca }),
      ...(certificateSha256 === undefined ? {} : { certificateSha256 }),
      ...(proxy === undefined ? {} : { proxy }),
    },
  });
}
