import type { FaultRule } from '../../src/simulator/faults.ts';
import type { Choices } from './choices.ts';

const disk = { method: 'PUT', file: 'disk|^file$' };
const HTML = '<!DOCTYPE html><html><body>Blocked by policy</body></html>';

/** What the line and the server do; each kind as a rule made anew each time it is planned. */
export const FAULT_KINDS: Readonly<Record<string, (random: Choices) => Omit<FaultRule, 'name'>>> = {
  reset: (random) => ({ on: disk, do: { resetAfterBytes: random.between(0, 200_000) } }),
  'lost creation': () => ({
    on: { method: 'POST', path: 'action/upload' },
    do: { loseReply: true },
  }),
  'lost range': () => ({ on: disk, do: { loseReply: true } }),
  'cut descriptor': (random) => ({
    on: { method: 'PUT', file: 'descriptor' },
    do: { resetAfterBytes: random.between(0, 200) },
  }),
  busy: (random) => ({
    on: { path: 'vAppTemplate|media' },
    do: { status: random.one([500, 502, 503]) },
  }),
  firewall: () => ({ on: disk, do: { status: 403, body: HTML } }),
  'session expired': () => ({ on: { path: '^/api/' }, do: { expireSessions: true } }),
  'landed later': (random) => ({
    on: disk,
    do: { landLater: { bytes: random.between(1, 300_000), ms: random.between(50, 1_500) } },
  }),
  'stored less': (random) => ({ on: disk, do: { storeAtMost: random.between(0, 100_000) } }),
  'lagging counter': (random) => ({
    on: { method: 'GET', path: 'vAppTemplate|media' },
    times: 2,
    do: { counterLagMs: random.between(100, 1_000) },
  }),
  'counter too large': () => ({
    on: { method: 'GET', path: 'vAppTemplate|media' },
    times: 2,
    do: { counterOffset: 10_000_000 },
  }),
  'closed connection': () => ({ on: { method: 'PUT' }, times: 3, do: { closeAfter: true } }),
  slow: () => ({ on: disk, do: { bytesPerSecond: 400_000 } }),
  outage: (random) => ({ on: { path: '' }, do: { outageMs: random.between(300, 2_500) } }),
  'transfer expired': () => ({ on: disk, do: { expireTransfer: true } }),
  'lost description': () => ({
    on: { method: 'PUT', path: '/api/' },
    do: { loseReply: true },
  }),
  'lost deletion': () => ({ on: { method: 'DELETE', path: '/api/' }, do: { loseReply: true } }),
};

/** They only come where something else has gone wrong before. */
export const RARE: ReadonlySet<string> = new Set(['lost deletion']);
