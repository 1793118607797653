import type { Config } from './config/load.ts';
import { FerryError } from './errors.ts';
import type { createLoginLock } from './jobs/login-lock.ts';
import type { TargetAccess } from './jobs/processor-world.ts';
import { TargetGate } from './jobs/target-gate.ts';
import { VcdClient } from './vcd/client.ts';

type LoginLock = ReturnType<typeof createLoginLock>;

interface OpenTargets {
  get(target: string): Promise<TargetAccess>;
  isDown(target: string): boolean;
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
  const gates = new Map<string, TargetGate>();
  const open = async (name: string): Promise<TargetAccess> => {
    const vcd = await createClient(current, name, lockOf(name));
    const gate = new TargetGate(async (signal) => {
      await vcd.probe(signal);
    });
    gates.set(name, gate);
    return { vcd, gate };
  };
  return {
    get(name) {
      let access = opening.get(name);
      if (!access) {
        access = open(name);
        access.catch(() => opening.delete(name)); // a secret may be there the next time
        opening.set(name, access);
      }
      return access;
    },
    isDown: (name) => gates.get(name)?.isDown ?? false,
    close() {
      for (const gate of gates.values()) gate.close();
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
