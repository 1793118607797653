import { z } from 'zod';

const bytes = z.number().int().min(0);
const milliseconds = z.number().int().min(0);

const ActionSchema = z.strictObject({
  /** Answer this at once, without doing the work. */
  status: z.number().int().min(100).max(599).optional(),
  reason: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  body: z.string().optional(),
  /** Wait before anything else. */
  delayMs: milliseconds.optional(),
  /** Cut the connection after this many bytes of the request's body were kept. */
  resetAfterBytes: bytes.optional(),
  /** Stop reading after this many bytes of the body, and never answer. */
  stallAfterBytes: bytes.optional(),
  /** Read the body this slowly. */
  bytesPerSecond: z.number().min(1).optional(),
  /** Store other bytes than arrived, as a broken proxy does. */
  damage: z.literal(true).optional(),
  /** Answer as if all were well, but keep only this many bytes of the body. */
  storeAtMost: bytes.optional(),
  /**
   * As a balancer that buffers: the body's first bytes are taken, the connection is cut, and only
   * later do they arrive, where they still fit.
   */
  landLater: z.strictObject({ bytes, ms: milliseconds }).optional(),
  /** Do the work, then cut the connection instead of answering. */
  loseReply: z.literal(true).optional(),
  /** Say `Connection: close` with the answer, and do it. */
  closeAfter: z.literal(true).optional(),
  /** End every API session first. */
  expireSessions: z.literal(true).optional(),
  /** End the transfer session that the request belongs to first. */
  expireTransfer: z.literal(true).optional(),
  /** Show the counts as they were so long ago, as one of several cells does. */
  counterLagMs: milliseconds.optional(),
  /** Show counts that are wrong by so much. */
  counterOffset: z.number().int().optional(),
  /** Cut this and every other connection for so long. */
  outageMs: milliseconds.optional(),
  /** Show this status of an entity, as where it lags behind its task. */
  showStatus: z.number().int().optional(),
  /** Show a task that has failed without saying why. */
  hideError: z.literal(true).optional(),
  /** List an entity's files in the reverse order. */
  reverseFiles: z.literal(true).optional(),
  /** Let the import of what the request belongs to fail by this. */
  failImport: z
    .strictObject({ majorCode: z.number().int(), minorCode: z.string(), message: z.string() })
    .optional(),
});

const RuleSchema = z.strictObject({
  /** For people and for asking how often it bit. */
  name: z.string().optional(),
  on: z.strictObject({
    method: z.string().optional(),
    /** A regular expression on path and query. */
    path: z.string().optional(),
    /** A regular expression on the name of the file that a PUT is for. */
    file: z.string().optional(),
    /** The name of a header that the request lacks. */
    without: z.string().optional(),
    /** Bytes: only what says that its body is longer. */
    largerThan: z.number().int().min(0).optional(),
  }),
  /** Let this many matching requests pass first. Default 0. */
  after: z.number().int().min(0).optional(),
  /** Then bite this many times. Default 1; 0 for ever. */
  times: z.number().int().min(0).optional(),
  do: ActionSchema,
});

/** One thing that goes wrong on requests that match. Rules are data; each counts its hits. */
export type FaultRule = z.input<typeof RuleSchema>;
export type FaultAction = z.output<typeof ActionSchema>;

/** @throws Error that names the rule, the key and what was expected */
export function parseFaultRules(value: unknown): FaultRule[] {
  const parsed = z.array(RuleSchema).safeParse(Array.isArray(value) ? value : [value]);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => {
    const [rule, ...keys] = path;
    return `rule ${Number(rule) + 1}${keys.length > 0 ? `, ${keys.join('.')}` : ''}: ${message}`;
  });
  throw new Error(faults.join('; '));
}

export interface FaultCount {
  readonly name: string;
  readonly hits: number;
}

interface Counted {
  readonly rule: FaultRule;
  readonly path: RegExp;
  readonly file: RegExp | undefined;
  seen: number;
  hits: number;
}

export class Faults {
  #rules: Counted[] = [];

  add(rule: FaultRule): void {
    const { path = '', file } = rule.on;
    this.#rules.push({
      rule,
      path: new RegExp(path),
      file: file === undefined ? undefined : new RegExp(file),
      seen: 0,
      hits: 0,
    });
  }

  clear(): void {
    this.#rules = [];
  }

  /** The first rule that bites this request. */
  match(
    method: string,
    path: string,
    headers: Readonly<Record<string, unknown>> = {},
  ): FaultAction | undefined {
    for (const counted of this.#rules) {
      const { rule } = counted;
      if (rule.on.method !== undefined && rule.on.method !== method) continue;
      if (!counted.path.test(path)) continue;
      if (rule.on.without !== undefined && rule.on.without.toLowerCase() in headers) continue;
      const { largerThan } = rule.on;
      if (largerThan !== undefined && !(Number(headers['content-length']) > largerThan)) continue;
      if (counted.file && !counted.file.test(fileOf(path) ?? '\n')) continue;
      counted.seen += 1;
      const nth = counted.seen - (rule.after ?? 0);
      const times = rule.times ?? 1;
      if (nth < 1 || (times > 0 && nth > times)) continue;
      counted.hits += 1;
      return rule.do;
    }
    return undefined;
  }

  counts(): FaultCount[] {
    return this.#rules.map(({ rule, hits }, i) => ({ name: rule.name ?? `rule ${i}`, hits }));
  }
}

function fileOf(path: string): string | undefined {
  const name = /^\/transfer\/[^/]+\/([^/?]+)/.exec(path)?.[1];
  try {
    return name === undefined ? undefined : decodeURIComponent(name);
  } catch {
    return name;
  }
}
