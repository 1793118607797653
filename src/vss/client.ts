import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { FerryError } from '../errors.ts';
import { type HttpAnswer, type HttpTimeouts, VcdHttp } from '../vcd/http.ts';
import type { Trust } from '../vcd/http-trust.ts';

const ItemSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  /** OVF, ISO or VM; others may come. */
  type: z.string().optional(),
  /** Bytes. */
  size: z.number().nullish(),
  description: z.string().nullish(),
  library: z.looseObject({ name: z.string().optional() }).nullish(),
  updated_on: z.string().nullish(),
  last_modified_time: z.string().nullish(),
});
/** An item of the content library, with all that the service says of it. */
export type LibraryItem = z.output<typeof ItemSchema>;

const PageSchema = z.looseObject({
  data: z.array(ItemSchema),
  meta: z.looseObject({ pages: z.looseObject({ next_url: z.string().nullish() }).optional() }),
});
const OneSchema = z.looseObject({ data: ItemSchema });

export interface LibraryOptions {
  /** Of the API; what stands before `/v2` of its paths. */
  readonly url: URL;
  /** Read anew at each login. */
  readonly login: () => Promise<{ readonly user: string; readonly password: string }>;
  readonly trust: Trust;
  readonly timeouts?: HttpTimeouts;
}

/** What of the library is listed: checked filters and an order. */
export interface LibraryQuery {
  readonly filters?: readonly string[];
  readonly sort?: string | undefined;
}

/** The most that the service gives at once (its documentation, "Paging"). */
const PAGE = 250;
const TRIES = 4;
const FIRST_PAUSE_MS = 500;

/** The VSS content library's API: items, listed and one by one. */
export class LibraryClient {
  readonly #options: LibraryOptions;
  readonly #http: VcdHttp;
  #token: Promise<string> | undefined;

  constructor(options: LibraryOptions) {
    this.#options = options;
    this.#http = new VcdHttp(options.url, options.trust, options.timeouts);
  }

  /**
   * Items as the service has them, all pages.
   *
   * @throws FerryError AUTH_REJECTED, NETWORK, SERVER_UNAVAILABLE, LIBRARY_REJECTED …
   */
  async *listItems(query: LibraryQuery, signal: AbortSignal): AsyncGenerator<LibraryItem, void> {
    const { filters = [], sort } = query;
    const asked = new URLSearchParams({ per_page: String(PAGE), expand: '1' });
    if (filters.length > 0) asked.set('filter', filters.join(';'));
    if (sort !== undefined) asked.set('sort', sort);
    let path: string | undefined = `/v2/contentlib/item?${asked}`;
    const seen = new Set<string>();
    while (path !== undefined && !seen.has(path)) {
      seen.add(path);
      const page: z.output<typeof PageSchema> = await this.#get(path, PageSchema, signal);
      yield* page.data;
      path = this.#pathOf(page.meta.pages?.next_url);
    }
  }

  /** @throws FerryError ITEM_NOT_FOUND; as `listItems` */
  async getItem(id: string, signal: AbortSignal): Promise<LibraryItem> {
    const path = `/v2/contentlib/item/${encodeURIComponent(id)}`;
    return (await this.#get(path, OneSchema, signal)).data;
  }

  close(): void {
    this.#http.close();
  }

  /** Whatever host an address names, the one that was configured is asked: it alone gets the token. */
  #pathOf(address: string | null | undefined): string | undefined {
    const { href } = this.#options.url;
    if (!address || !URL.canParse(address, href)) return undefined;
    const { pathname, search } = new URL(address, href);
    return pathname + search;
  }

  async #get<T>(path: string, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    const label = `GET ${path.split('?')[0]}`;
    const answer = await this.#ask(path, label, signal);
    if (answer.status !== 200) throw errorOf(answer, label);
    let value: unknown;
    try {
      value = JSON.parse(answer.body);
    } catch {
      throw new FerryError('SERVER_UNAVAILABLE', `what came back from ${label} is not JSON`);
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const what = z.prettifyError(parsed.error).split('\n')[0];
    throw new FerryError(
      'SERVER_UNAVAILABLE',
      `what came back from ${label} is no list of items: ${what}`,
    );
  }

  /** A token runs out: then it is fetched again, once. What passes by itself is asked for again. */
  async #ask(path: string, label: string, signal: AbortSignal): Promise<HttpAnswer> {
    let isRenewed = false;
    for (let tries = 1; ; tries += 1) {
      try {
        this.#token ??= this.#logIn(signal);
        const token = this.#token;
        const answer = await this.#http.send({
          ...{ method: 'GET', url: new URL(path, this.#options.url), label, signal },
          headers: { authorization: `Bearer ${await token}`, accept: 'application/json' },
        });
        if (answer.status === 401 && !isRenewed) {
          isRenewed = true;
          if (this.#token === token) this.#token = undefined;
          continue;
        }
        if (answer.status !== 429 && answer.status < 500) return answer;
        if (tries >= TRIES) throw errorOf(answer, label);
      } catch (error) {
        this.#token = undefined; // it may be what failed
        const isPassing = error instanceof FerryError && error.kind === 'transient';
        if (!isPassing || tries >= TRIES) throw error;
      }
      await sleep(FIRST_PAUSE_MS * 2 ** (tries - 1), undefined, { signal });
    }
  }

  /** `POST /auth/request-token` with basic authorization (its documentation, "Introduction"). */
  async #logIn(signal: AbortSignal): Promise<string> {
    const { user, password } = await this.#options.login();
    const label = 'POST /auth/request-token';
    const answer = await this.#http.send({
      ...{ method: 'POST', url: new URL('/auth/request-token', this.#options.url), label, signal },
      headers: {
        authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
        accept: 'application/json',
        'content-length': '0',
      },
    });
    if (answer.status !== 200 && answer.status !== 201) throw errorOf(answer, label);
    try {
      const { token } = JSON.parse(answer.body) as { token?: unknown };
      if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token;
    } catch {
      // as for an answer without a token
    }
    throw new FerryError('NOT_VCD', `${label} was answered without a token`, {
      hint: "Check the target's `url`: it is the API's address, without /v2.",
    });
  }
}

function errorOf({ status, body }: HttpAnswer, label: string): FerryError {
  const said = messageOf(body);
  const what = `${label} was answered ${status}${said === '' ? '' : `: ${said}`}`;
  const facts = { facts: { status } };
  if (status === 401 || status === 403) {
    return new FerryError('AUTH_REJECTED', what, {
      ...facts,
      hint: "Correct the target's user and password.",
    });
  }
  if (status === 404) return new FerryError('ITEM_NOT_FOUND', what, facts);
  if (status === 429 || status >= 500) return new FerryError('SERVER_UNAVAILABLE', what, facts);
  return new FerryError('LIBRARY_REJECTED', what, facts);
}

function messageOf(body: string): string {
  try {
    const { message, error } = JSON.parse(body) as Record<string, unknown>;
    const text = message ?? error;
    return typeof text === 'string' ? text.slice(0, 300) : '';
  } catch {
    return '';
  }
}
