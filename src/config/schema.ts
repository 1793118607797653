import { z } from 'zod';
import { EVERY_DAY, parseClock, parseDays } from './days.ts';
import { parseDuration, parseListen, parseRate, parseSize } from './units.ts';

/** What may stand in a configuration file (contract, "Configuration"). */

function text<T>(parse: (text: string) => T | undefined, expected: string) {
  return z.string().transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: `expected ${expected}, got "${value}"` });
    return z.NEVER;
  });
}

/** Slower, and a piece of a request would look like a stall. */
const SLOWEST = 1_000;
const SMALLEST_CHUNK = 64 * 1024;
const LONGEST_LEASE_MS = 3_600_000;
const LONGEST_SETTLE_MS = 600_000;
/** vCD ends a transfer that was idle for an hour. */
const LONGEST_TRICKLE_MS = 1_800_000;

const rate = text((value) => {
  const parsed = parseRate(value);
  return parsed !== undefined && parsed >= SLOWEST ? parsed : undefined;
}, 'a rate like 200MB/s or 180Mbit/s, of at least 1kB/s');
const positive = z.number().int().min(1);

const limit = z.union([z.literal('off').transform(() => undefined), rate]);
const days = text(parseDays, 'weekdays like mon-fri or sat,sun').default([...EVERY_DAY]);
const clock = text((value) => {
  const minutes = parseClock(value);
  return minutes === 1_440 ? undefined : minutes;
}, 'a time like 08:00');
/** One rate, or what holds from which time on. */
const bandwidth = z.union([rate, z.array(z.strictObject({ days, from: clock, limit })).min(1)]);
const transferWindow = z.strictObject({
  days,
  from: clock.default(0),
  to: text(parseClock, 'a time like 06:00').default(1_440),
});
const size = text((value) => {
  const parsed = parseSize(value);
  return parsed !== undefined && parsed > 0 ? parsed : undefined;
}, 'a size like 500GB');
const timezone = z.string().refine((zone) => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}, 'expected a time zone like Europe/Berlin');
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/, 'expected letters, digits, _ and -');

/** Credentials: exactly one way to log in. */
const SECRETS = [
  ['password', 'passwordFile'],
  ['apiToken', 'apiTokenFile'],
  ['bearerToken', 'bearerTokenFile'],
  ['serviceAccountTokenFile'],
  ['samlAssertionFile'],
] as const;

const target = z
  .strictObject({
    url: z.string(),
    org: z.string().min(1),
    user: z.string().optional(),
    password: z.string().optional(),
    passwordFile: z.string().optional(),
    apiToken: z.string().optional(),
    apiTokenFile: z.string().optional(),
    bearerToken: z.string().optional(),
    bearerTokenFile: z.string().optional(),
    serviceAccountTokenFile: z.string().optional(),
    samlAssertionFile: z.string().optional(),
    samlKeyFile: z.string().optional(),
    tenant: z.string().optional(),
    catalog: z.string().optional(),
    concurrency: positive.max(64).default(4),
    imports: positive.max(256).default(8),
    bandwidth: bandwidth.optional(),
    inFlight: size.optional(),
    group: name.optional(),
    windows: z.array(transferWindow).min(1).optional(),
    atWindowEnd: z.enum(['finish', 'trickle', 'drop']).default('finish'),
    ca: z.string().optional(),
    certificateSha256: z
      .string()
      .regex(/^([0-9a-fA-F]{2}:?){32}$/, 'expected the 64 hexadecimal digits of a SHA-256')
      .optional(),
    insecure: z.boolean().default(false),
    proxy: z.string().optional(),
  })
  .superRefine((value, context) => {
    const given = SECRETS.flat().filter((key) => value[key] !== undefined);
    if (given.length !== 1) {
      const what = given.length === 0 ? 'none' : given.join(' and ');
      context.addIssue({
        code: 'custom',
        message: `expected exactly one of ${SECRETS.flat().join(', ')}, got ${what}`,
      });
    }
    if (value.samlKeyFile !== undefined && value.samlAssertionFile === undefined) {
      const message = 'goes with samlAssertionFile';
      context.addIssue({ code: 'custom', path: ['samlKeyFile'], message });
    }
    const isProvider = value.org.toLowerCase() === 'system' || value.org.includes('${');
    if (value.tenant !== undefined && !isProvider) {
      const message = 'only a provider, whose org is System, acts for a tenant';
      context.addIssue({ code: 'custom', path: ['tenant'], message });
    }
    if ((value.password ?? value.passwordFile) !== undefined && value.user === undefined) {
      context.addIssue({ code: 'custom', path: ['user'], message: 'is needed beside a password' });
    }
    // One that is made of the environment can only be judged when it is used.
    if (!value.url.includes('${') && !/^https?:\/\/[^/]/.test(value.url)) {
      context.addIssue({
        code: 'custom',
        path: ['url'],
        message: 'expected an address like https://vcd.example.com',
      });
    }
  });

const worker = z.strictObject({
  concurrency: positive.max(64).default(4),
  bandwidth: bandwidth.optional(),
  timezone: timezone.optional(),
  line: name.optional(),
  pools: z.array(name).default([]),
  listen: text(parseListen, 'an address like 127.0.0.1:9464').optional(),
  chunkSize: z
    .union([
      z.literal('auto').transform(() => undefined),
      text((value) => {
        const size = parseSize(value);
        return size !== undefined && size >= SMALLEST_CHUNK ? size : undefined;
      }, 'auto or a size like 50MiB, of at least 64KiB'),
    ])
    .optional(),
  lease: text((value) => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= 1_000 && ms <= LONGEST_LEASE_MS ? ms : undefined;
  }, 'a time like 30s, from 1s to 1h').default(30_000),
  settle: text((value) => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= 100 && ms <= LONGEST_SETTLE_MS ? ms : undefined;
  }, 'a time like 3s, from 100ms to 10m').optional(),
  filesInParallel: positive.max(8).default(1),
  trickleEvery: text((value) => {
    const ms = parseDuration(value);
    return ms !== undefined && ms >= 100 && ms <= LONGEST_TRICKLE_MS ? ms : undefined;
  }, 'a time like 5m, from 100ms to 30m').default(300_000),
});

const events = ['batch.ended', 'target.braked', 'transfer.stalled', 'deadline.slipping'] as const;
const hook = z
  .strictObject({
    url: z.string().min(1),
    secret: z.string().optional(),
    secretFile: z.string().optional(),
    events: z
      .array(z.enum(events))
      .min(1)
      .default([...events]),
  })
  .refine(({ secret, secretFile }) => (secret === undefined) !== (secretFile === undefined), {
    message: 'expected exactly one of secret, secretFile',
  });

export const configSchema = z
  .strictObject({
    redis: z.string().optional(),
    dataDir: z.string().min(1).optional(),
    timezone: timezone.optional(),
    targets: z.record(name, target).default({}),
    lines: z.record(name, bandwidth).default({}),
    groups: z.record(name, z.strictObject({ inFlight: size })).default({}),
    notify: z.record(name, hook).default({}),
    worker: worker.default(worker.parse({})),
  })
  .superRefine(({ targets, lines, groups, worker: { line } }, context) => {
    const unknown = (path: string[], what: string, known: object): void => {
      const message = `there is no ${what} of that name; there are: ${Object.keys(known).join(', ') || 'none'}`;
      context.addIssue({ code: 'custom', path, message });
    };
    if (line !== undefined && !(line in lines)) unknown(['worker', 'line'], 'line', lines);
    for (const [key, { group }] of Object.entries(targets)) {
      if (group !== undefined && !(group in groups)) {
        unknown(['targets', key, 'group'], 'group', groups);
      }
    }
  });

export type RawConfig = z.output<typeof configSchema>;
export type RawHook = RawConfig['notify'][string];
export type RawTarget = RawConfig['targets'][string];
export type RawBandwidth = z.output<typeof bandwidth>;
