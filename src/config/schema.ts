import { z } from 'zod';
import { targetSchema } from './target-schema.ts';
import { parseListen, parseSize } from './units.ts';
import { bandwidth, name, path, positive, size, text, time, timezone } from './values.ts';

/** What may stand in a configuration file (contract, "Configuration"). */

const SMALLEST_CHUNK = 64 * 1024;
const LONGEST_LEASE_MS = 3_600_000;
const LONGEST_SETTLE_MS = 600_000;
/** vCD ends a transfer that was idle for an hour. */
const LONGEST_TRICKLE_MS = 1_800_000;
const LONGEST_PATIENCE_MS = 365 * 86_400_000;
const LONGEST_KEPT_MS = 3_650 * 86_400_000;

const worker = z.strictObject({
  concurrency: positive
    .max(64)
    .default(4)
    .describe(
      'Transfers at once in a process; half as many again for taking over what a dead one has begun.',
    ),
  bandwidth: bandwidth.optional().describe('Of a process.'),
  timezone: timezone.optional().describe('Of this process alone.'),
  line: name.optional().describe('Which of `lines` it sends over.'),
  pools: z.array(name).default([]).describe('As `worker --pool`.'),
  listen: text(parseListen, 'an address like 127.0.0.1:9464')
    .optional()
    .describe('Serves `/metrics`, `/healthz` and `/readyz`.'),
  chunkSize: z
    .union([
      z.literal('auto').transform(() => undefined),
      text((value) => {
        const size = parseSize(value);
        return size !== undefined && size >= SMALLEST_CHUNK ? size : undefined;
      }, 'a size like 50MiB, of at least 64KiB'),
    ])
    .optional()
    .describe('Of one request; some proxies limit it. By default `auto`: what the line takes.'),
  lease: time(1_000, LONGEST_LEASE_MS, 'a time like 30s, from 1s to 1h')
    .prefault('30s')
    .describe(
      'How long a silent worker keeps its uploads: another takes over within 1.5 times this.',
    ),
  settle: time(100, LONGEST_SETTLE_MS, 'a time like 3s, from 100ms to 10m')
    .optional()
    .describe(
      "How long the server's counts must stand still before an upload is taken over; by default up to 3s. Longer where a balancer buffers.",
    ),
  filesInParallel: positive
    .max(8)
    .default(1)
    .describe('Files of one package side by side; nobody has confirmed it on a real vCD.'),
  resendFloor: size
    .prefault('1GiB')
    .describe(
      'A job whose server loses what it had confirmed is sent again by itself up to its own size, or up to this if that is more; then a person is asked.',
    ),
  giveUp: time(60_000, LONGEST_PATIENCE_MS, 'a time like 24h, from 1m to 365d')
    .prefault('24h')
    .describe(
      'A job of which nothing moves for so long fails for good. What its target, its source or this machine lack is not counted.',
    ),
  outage: time(60_000, LONGEST_PATIENCE_MS, 'a time like 30d, from 1m to 365d')
    .prefault('30d')
    .describe(
      'So long a target may be out of reach before uploads that have begun there begin to give up.',
    ),
  keep: time(86_400_000, LONGEST_KEPT_MS, 'a time like 365d, from 1d to 3650d')
    .prefault('365d')
    .describe(
      'Receipts, failed jobs and ended batches are forgotten after this. What is uploaded again after that is recognised in the catalog.',
    ),
  trickleEvery: time(100, LONGEST_TRICKLE_MS, 'a time like 5m, from 100ms to 30m')
    .prefault('5m')
    .describe('How often an upload outside its window sends a little.'),
});

const events = ['batch.ended', 'target.braked', 'transfer.stalled', 'deadline.slipping'] as const;
const hook = z
  .strictObject({
    url: z.string().min(1).describe('Where events are posted to.'),
    secret: z.string().optional().describe('Signs them: exactly one of the two is to be given.'),
    secretFile: path.optional().describe('The same from a file.'),
    events: z
      .array(z.enum(events))
      .min(1)
      .default([...events])
      .describe('Which ones; without it all.'),
  })
  .refine(({ secret, secretFile }) => (secret === undefined) !== (secretFile === undefined), {
    message: 'expected exactly one of secret, secretFile',
  });

const traces = z.strictObject({
  url: z
    .string()
    .min(1)
    .describe('An OpenTelemetry collector, like `http://collector:4318/v1/traces`.'),
  headers: z
    .record(z.string(), z.string())
    .default({})
    .describe('Sent along, for a collector that wants a key.'),
});

const dashboard = z
  .strictObject({
    listen: text(parseListen, 'an address like 127.0.0.1:9465')
      .prefault('127.0.0.1:9465')
      .describe('Where the page is served; another address than loopback wants a login.'),
    user: z
      .string()
      .regex(/^[^:]+$/, 'expected a name without a colon')
      .optional()
      .describe('Who may see it, with a password.'),
    password: z.string().optional(),
    passwordFile: path.optional().describe('The same from a file.'),
    token: z
      .string()
      .optional()
      .describe('In place of user and password: a bearer token, or the password of any user.'),
    tokenFile: path.optional().describe('The same from a file.'),
  })
  .refine(
    ({ password, passwordFile, token, tokenFile }) =>
      [password, passwordFile, token, tokenFile].filter((one) => one !== undefined).length < 2,
    { message: 'expected at most one of password, passwordFile, token, tokenFile' },
  )
  .refine(
    ({ user, password, passwordFile }) =>
      (user !== undefined) === ((password ?? passwordFile) !== undefined),
    { message: 'user and password, or passwordFile, go together' },
  );

export const configSchema = z
  .strictObject({
    redis: z
      .string()
      .optional()
      .describe(
        'A private server, if absent. `redis://[user:password@]host[:port][/db]`, `redis-sentinel://host,host/NAME`, `redis-cluster://host,host`, `unix:///path/of/the/socket`; with TLS `rediss…`.',
      ),
    dataDir: path
      .min(1)
      .optional()
      .describe('Where the private server keeps its data; by default `$XDG_STATE_HOME/ovaferry`.'),
    timezone: timezone
      .optional()
      .describe("Of all timetables and windows, like `Europe/Berlin`; by default the machine's."),
    targets: z
      .record(name, targetSchema)
      .default({})
      .describe('The vCDs, each under a name of yours.'),
    lines: z
      .record(name, bandwidth)
      .default({})
      .describe('What all workers with `line: NAME` share.'),
    groups: z
      .record(name, z.strictObject({ inFlight: size.describe('Of all its targets together.') }))
      .default({}),
    notify: z.record(name, hook).default({}).describe('Who is told of what.'),
    traces: traces
      .optional()
      .describe('By default as `OTEL_EXPORTER_OTLP_ENDPOINT` says, and else none.'),
    dashboard: dashboard.default(dashboard.parse({})),
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
export type RawDashboard = RawConfig['dashboard'];
export type RawHook = RawConfig['notify'][string];
export type RawTarget = RawConfig['targets'][string];
export type RawBandwidth = z.output<typeof bandwidth>;

/** A place in the schema as JSON Schema describes it. */
interface Place {
  readonly properties?: Readonly<Record<string, Place>>;
  readonly additionalProperties?: Place;
  readonly items?: Place;
  readonly anyOf?: readonly Place[];
}

/** The keys that may stand at a place of a configuration; none where it has none. */
export function keysAt(path: readonly PropertyKey[]): string[] {
  const root = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as Place;
  let places: readonly Place[] = [root];
  for (const key of path) {
    places = places.flatMap((place) => {
      const inner = typeof key === 'number' ? place.items : place.properties?.[String(key)];
      const found = inner ?? place.additionalProperties;
      return found ? [found, ...(found.anyOf ?? [])] : [];
    });
  }
  return places.flatMap(({ properties }) => Object.keys(properties ?? {}));
}
