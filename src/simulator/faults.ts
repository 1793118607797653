/** One thing that goes wrong on requests that match. Rules are data; each counts its hits. */
export interface FaultRule {
  /** For people and for asking how often it bit. */
  readonly name?: string;
  readonly on: {
    readonly method?: string;
    /** A regular expression on path and query. */
    readonly path?: string;
  };
  /** Let this many matching requests pass first. Default 0. */
  readonly after?: number;
  /** Then bite this many times. Default 1; 0 for ever. */
  readonly times?: number;
  readonly do: FaultAction;
}

export interface FaultAction {
  /** Answer this at once, without doing the work. */
  readonly status?: number;
  readonly reason?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Cut the connection after this many bytes of the request's body were kept. */
  readonly resetAfterBytes?: number;
  /** Stop reading after this many bytes of the body, and never answer. */
  readonly stallAfterBytes?: number;
  /** Wait before anything else. */
  readonly delayMs?: number;
  /** Do the work, then cut the connection instead of answering. */
  readonly loseReply?: true;
  /** End every API session first. */
  readonly expireSessions?: true;
}

export interface FaultCount {
  readonly name: string;
  readonly hits: number;
}

interface Counted {
  readonly rule: FaultRule;
  readonly path: RegExp;
  seen: number;
  hits: number;
}

export class Faults {
  #rules: Counted[] = [];

  add(rule: FaultRule): void {
    this.#rules.push({ rule, path: new RegExp(rule.on.path ?? ''), seen: 0, hits: 0 });
  }

  clear(): void {
    this.#rules = [];
  }

  /** The first rule that bites this request. */
  match(method: string, path: string): FaultAction | undefined {
    for (const counted of this.#rules) {
      const { rule } = counted;
      if (rule.on.method !== undefined && rule.on.method !== method) continue;
      if (!counted.path.test(path)) continue;
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
