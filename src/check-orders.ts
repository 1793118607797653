import { z } from 'zod';
import { suggestion } from './config/suggest.ts';
import { FerryError } from './errors.ts';

const text = z.string().min(1);
/** What a program hands in may be anything, whatever its types say. */
const orderSchema = z.strictObject({
  ...{ source: text, to: text },
  ...{ media: z.boolean().optional(), serverPull: z.boolean().optional() },
  deploy: z
    .strictObject({
      vdc: text,
      powerOn: z.boolean().optional(),
      acceptEulas: z.boolean().optional(),
      networks: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  ...{ name: z.string().optional(), description: z.string().optional() },
  storageProfile: z.string().optional(),
  leaseSeconds: z.number().int().optional(),
  metadata: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.date()]))
    .optional(),
  verify: z.enum(['full', 'off', 'server']).optional(),
  batch: z.string().optional(),
  ifExists: z.enum(['fail', 'skip', 'replace']).optional(),
  keepFailed: z.boolean().optional(),
  pool: z.string().optional(),
  priority: z.number().int().optional(),
  ...{ startAt: z.date().optional(), deadline: z.date().optional() },
  origin: z.string().optional(),
});
const downloadSchema = z.strictObject({
  ...{ item: text, folder: text.optional() },
  format: z.enum(['files', 'ova']).optional(),
  batch: z.string().optional(),
  ifExists: z.enum(['fail', 'skip', 'replace']).optional(),
  keepFailed: z.boolean().optional(),
  pool: z.string().optional(),
  priority: z.number().int().optional(),
  ...{ startAt: z.date().optional(), deadline: z.date().optional() },
  expectedBytes: z.number().int().min(0).optional(),
});
const copySchema = z.strictObject({
  ...{ item: text, to: text, name: z.string().optional(), description: z.string().optional() },
  storageProfile: z.string().optional(),
  ifExists: z.enum(['fail', 'skip', 'replace', 'update']).optional(),
  ...{ after: text.optional(), pull: z.boolean().optional(), batch: z.string().optional() },
  keepFailed: z.boolean().optional(),
  pool: z.string().optional(),
  priority: z.number().int().optional(),
  ...{ startAt: z.date().optional(), deadline: z.date().optional() },
  expectedBytes: z.number().int().min(0).optional(),
});
const optionsSchema = z.strictObject({
  priority: z.number().int().optional(),
  startAt: z.date().optional(),
  again: z.boolean().optional(),
  order: z.enum(['listed', 'smallest', 'largest']).optional(),
});

/** @throws FerryError USAGE naming what is wrong */
export function assertOrders(orders: unknown, options?: unknown): void {
  assertAs(orderSchema, orders, options);
}

/** @throws FerryError USAGE naming what is wrong */
export function assertDownloads(orders: unknown, options?: unknown): void {
  assertAs(downloadSchema, orders, options);
}

/** @throws FerryError USAGE naming what is wrong */
export function assertCopies(orders: unknown, options?: unknown): void {
  assertAs(copySchema, orders, options);
}

function assertAs(schema: z.ZodObject, orders: unknown, options: unknown = {}): void {
  const checked = z.array(schema).safeParse(orders);
  const [fault] = (checked.error ?? optionsSchema.safeParse(options).error)?.issues ?? [];
  if (!fault) return;
  const [first, ...rest] = fault.path;
  const where = checked.error ? [`order ${Number(first ?? 0) + 1}`, ...rest] : fault.path;
  const isUnknown = fault.code === 'unrecognized_keys';
  const known = Object.keys(checked.error ? schema.shape : optionsSchema.shape);
  const what = isUnknown
    ? fault.keys.map((key) => `unknown key ${key}${suggestion(key, known)}`).join(', ')
    : fault.message;
  throw new FerryError('USAGE', `${where.map(String).join('.')}: ${what}`, {
    hint: 'docs/library.md says how uploads are ordered.',
  });
}
