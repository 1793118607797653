import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { start, until } from '../helpers/cli.ts';
import { enqueued, isUp, received, untilOver, withPlace } from '../helpers/place.ts';

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number };
}

/** A span as OTLP has it in JSON. */
interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code?: number };
}

interface Collector {
  readonly url: string;
  readonly spans: Span[];
  readonly resources: string[];
  readonly headers: Record<string, unknown>[];
}

/** What an OpenTelemetry collector is to its clients: it takes OTLP over HTTP. */
async function withCollector<T>(use: (collector: Collector) => Promise<T>): Promise<T> {
  const seen: Omit<Collector, 'url'> = { spans: [], resources: [], headers: [] };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const said = JSON.parse(Buffer.concat(chunks).toString()) as {
        resourceSpans: { resource: unknown; scopeSpans: { spans: Span[] }[] }[];
      };
      seen.headers.push(request.headers);
      for (const { resource, scopeSpans } of said.resourceSpans) {
        seen.resources.push(JSON.stringify(resource));
        seen.spans.push(...scopeSpans.flatMap(({ spans }) => spans));
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await use({ ...seen, url: `http://127.0.0.1:${port}/v1/traces` });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const attribute = ({ attributes }: Span, wanted: string): string | number | undefined => {
  const { value } = attributes.find(({ key }) => key === wanted) ?? {};
  return value?.stringValue ?? value?.intValue;
};

describe('traces', () => {
  test('show all runs of a job as one, with stages, requests and failures; logs name its requests', () =>
    withPlace({ size: 3_000_000, rateBytesPerSecond: 1_000_000 }, (place) =>
      withCollector(async (collector) => {
        const { folder } = place;
        const file = join(folder, 'ovaferry.yaml');
        const more = `traces: {url: "${collector.url}", headers: {x-key: "\${TRACE_KEY}"}}\n`;
        await writeFile(file, `${await readFile(file, 'utf8')}${more}`);
        const worker = () => start(['worker'], folder, { TRACE_KEY: 'hush' });
        const first = worker();
        await isUp(first);
        const id = await enqueued(place);
        await until('bytes', () => received(place) > 0);
        first.kill('SIGTERM'); // what it has done is sent before it goes
        await first.ended;
        const second = worker();
        try {
          await untilOver(place, id);
        } finally {
          second.kill('SIGTERM');
          await second.ended;
        }
        const runs = collector.spans.filter(({ name }) => name === 'upload');
        expect(runs).toHaveLength(2);
        expect(new Set(collector.spans.map(({ traceId }) => traceId)).size).toBe(1);
        expect(runs.map((run) => attribute(run, 'ovaferry.outcome'))).toEqual([
          undefined, // handed over
          'completed',
        ]);
        const [, last] = runs as [Span, Span];
        expect(attribute(last, 'ovaferry.job.id')).toBe(id);
        const stages = collector.spans.filter(({ parentSpanId }) => parentSpanId === last.spanId);
        expect(stages.map(({ name }) => name)).toEqual(
          expect.arrayContaining(['describing', 'transferring', 'importing']),
        );
        const sending = stages.find(({ name }) => name === 'transferring');
        const puts = collector.spans.filter(
          ({ name, parentSpanId }) =>
            name === 'PUT of box-disk1.vmdk' && parentSpanId === sending?.spanId,
        );
        expect(puts.length).toBeGreaterThan(0);
        expect(puts.map((put) => attribute(put, 'http.response.status_code'))).toContain(200);
        for (const { startTimeUnixNano, endTimeUnixNano } of collector.spans) {
          expect(BigInt(endTimeUnixNano) >= BigInt(startTimeUnixNano)).toBe(true);
        }
        expect(collector.resources.join()).toContain('"ovaferry"');
        expect(collector.headers[0]).toMatchObject({ 'x-key': 'hush' });
        const text = JSON.stringify(collector.spans);
        expect(text).not.toMatch(/hush|simulated|\/transfer\//);

        const lines = second.output.stderr
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Record<string, unknown>);
        const own = lines.filter(({ job }) => job === id);
        expect(own.length).toBeGreaterThan(1);
        const request = attribute(last, 'ovaferry.request_id');
        for (const line of own) expect(line).toMatchObject({ job: id, target: 'lab', request });
        expect(second.output.stderr).not.toContain('hush');
      }),
    ));

  test('that nobody takes harm nothing', () =>
    withPlace({}, async (place) => {
      const { folder } = place;
      const file = join(folder, 'ovaferry.yaml');
      await writeFile(
        file,
        `${await readFile(file, 'utf8')}traces: {url: "http://127.0.0.1:9/v1/traces"}\n`,
      );
      await isUp(place.worker());
      expect(await untilOver(place, await enqueued(place))).toMatchObject({ state: 'completed' });
    }));
});
