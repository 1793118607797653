import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Simulator } from '../../src/simulator/server.ts';
import { type Running, start } from '../helpers/cli.ts';
import type { TestRedis } from '../helpers/redis.ts';
import type { Choices } from './choices.ts';

/** What chaos is made in. */
export interface ChaosPlace {
  readonly folder: string;
  readonly redis: TestRedis;
  readonly simulator: Simulator;
  readonly leaseMs: number;
  readonly random: Choices;
}

/** The workers of a chaos run: there are always some, whatever happens to them. */
export class Crew {
  readonly #place: ChaosPlace;
  readonly #size: number;
  readonly #all: Running[] = [];

  constructor(place: ChaosPlace, size: number) {
    this.#place = place;
    this.#size = size;
  }

  get alive(): Running[] {
    return this.#all.filter(({ child }) => child.exitCode === null && child.signalCode === null);
  }

  get log(): string {
    return this.#all.map(({ pid, output }) => `--- ${pid}\n${output.stderr}`).join('\n');
  }

  refill(): void {
    while (this.alive.length < this.#size) {
      this.#all.push(start(['worker', '--log-level', 'info'], this.#place.folder));
    }
  }

  any(): Running | undefined {
    const { alive } = this;
    return alive.length === 0 ? undefined : this.#place.random.one(alive);
  }

  async dismiss(): Promise<void> {
    for (const worker of this.alive) {
      worker.kill('SIGCONT');
      worker.kill('SIGKILL');
      await worker.ended;
    }
  }
}

type Disturbance = (place: ChaosPlace, crew: Crew) => Promise<void>;

const SAVED = 'redis-saved';

/** What happens to processes. */
export const DISTURBANCES: Readonly<Record<string, Disturbance>> = {
  async 'worker killed'(_place, crew) {
    crew.any()?.kill('SIGKILL');
    await sleep(100);
    crew.refill();
  },
  async 'worker terminated'(_place, crew) {
    crew.any()?.kill('SIGTERM');
    await sleep(300);
    crew.refill();
  },
  async 'worker frozen'({ leaseMs }, crew) {
    const worker = crew.any();
    worker?.kill('SIGSTOP');
    await sleep(leaseMs * 1.6);
    worker?.kill('SIGCONT');
  },
  async 'redis killed'({ redis, random }) {
    await redis.kill();
    await sleep(random.between(200, 3_000));
    await redis.start();
  },
  async 'redis rolled back'({ redis, folder }) {
    await redis.kill();
    await rm(join(folder, 'appendonlydir'), { recursive: true });
    await cp(join(folder, SAVED), join(folder, 'appendonlydir'), { recursive: true });
    await redis.start();
  },
  async 'checkpoint deleted'({ redis, random }) {
    const keys = await redis.client.keys('{ovaferry}:upload-lab:lab-*');
    const jobs = keys.filter((key) => /lab-[0-9a-f]{16}$/.test(key));
    if (jobs.length === 0) return;
    const key = random.one(jobs);
    const data = JSON.parse((await redis.client.hget(key, 'data')) ?? '{}');
    const none = { creating: false, item: null, content: null, restarts: 0 };
    const checkpoint = { ...none, bytesResent: 0, progressedAt: null };
    await redis.client.hset(key, 'data', JSON.stringify({ ...data, checkpoint }));
  },
  async 'simulator restarted'({ simulator, random }) {
    await simulator.restart(random.between(100, 2_000));
  },
};

/** To be rolled back to. The files are append-only, so a copy of a running server's is a past state. */
export async function saveRedis({ folder }: ChaosPlace): Promise<void> {
  await rm(join(folder, SAVED), { recursive: true, force: true });
  await cp(join(folder, 'appendonlydir'), join(folder, SAVED), { recursive: true });
}
