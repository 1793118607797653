import { request as httpRequest } from 'node:http';

/** What a client that is not ours would see. */
export interface Answer {
  readonly status: number;
  readonly reason: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

export interface Call {
  readonly method?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
}

/** One request, byte for byte as it is given: no path is normalised, nothing is added. */
export function call(
  base: string,
  path: string,
  { method, headers, body }: Call = {},
): Promise<Answer> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { hostname, port, path, method: method ?? 'GET', headers: headers ?? {}, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            reason: response.statusMessage ?? '',
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** Logs in as real clients do and returns the headers they go on with. */
export async function loggedIn(base: string, version = '36.3'): Promise<Record<string, string>> {
  const { headers } = await call(base, '/cloudapi/1.0.0/sessions', {
    method: 'POST',
    headers: {
      authorization: basic('admin@acme', 'simulated'),
      accept: `application/json;version=${version}`,
    },
  });
  return {
    authorization: `Bearer ${headers['x-vmware-vcloud-access-token']}`,
    accept: `application/*+xml;version=${version}`,
  };
}

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** The value of the first attribute of that name. */
export function attribute(xml: string, name: string): string {
  return new RegExp(`\\s${name}="([^"]*)"`).exec(xml)?.[1] ?? '';
}

/** The path of the first link with that relation, and type if one is given. */
export function linkPath(xml: string, rel: string, type = ''): string {
  for (const [tag] of xml.matchAll(/<Link [^>]*>/g)) {
    if (attribute(tag, 'rel') !== rel || !attribute(tag, 'type').includes(type)) continue;
    return pathOf(attribute(tag, 'href'));
  }
  return '';
}

export function pathOf(href: string): string {
  const { pathname, search } = new URL(href);
  return pathname + search;
}
