import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { findByEntity } from './access.ts';
import type { Call, Reply, Route } from './call.ts';
import { ApiError, badRequest } from './errors.ts';
import type { Item, TransferFile } from './model.ts';
import { doneTask, entityHref } from './parts.ts';
import type { World } from './world.ts';
import { element, link, type Markup } from './xml.ts';

const PATH = '/api/(?:vAppTemplate|media)/([^/]+)/action';

/** Fetching what was uploaded: it is enabled first, as a task, and then has addresses of its own. */
export const downloadRoutes: readonly Route[] = [
  { method: 'POST', path: new RegExp(`^${PATH}/enableDownload$`), handle: enable },
  { method: 'POST', path: new RegExp(`^${PATH}/disableDownload$`), handle: disable },
];

function enable(call: Call): Reply {
  const item = findByEntity(call);
  if (item.entity.task.status !== 'success') {
    throw badRequest('Bad request\n - The entity is not ready.');
  }
  if (item.entity.received.some(({ sink }) => sink.path === undefined)) {
    throw new ApiError(500, 'INTERNAL_SERVER_ERROR', 'This simulator keeps no bytes: use --store.');
  }
  item.entity.downloadKey ??= randomUUID();
  return doneTask(call, item, 'vappEnableDownload', 'Enabling download of');
}

function disable(call: Call): Reply {
  const item = findByEntity(call);
  delete item.entity.downloadKey;
  return { status: 204 };
}

/** What an entity shows of it: a template one link, to the descriptor, media a file. */
export function downloadParts(world: World, item: Item): { links: Markup[]; files: Markup[] } {
  const { entity } = item;
  const href = `${entityHref(world, item)}/action`;
  if (entity.task.status !== 'success') return { links: [], files: [] };
  if (entity.downloadKey === undefined) {
    return { links: [link('enable', `${href}/enableDownload`)], files: [] };
  }
  const at = (name: string): string =>
    `${world.transferBase}/transfer/${entity.downloadKey}/${encodeURIComponent(name)}`;
  const disabling = link('disable', `${href}/disableDownload`);
  const [first] = entity.received;
  if (entity.kind === 'vAppTemplate') {
    const descriptor = element('Link', {
      rel: 'download:default',
      href: at('descriptor.ovf'),
      type: 'text/xml',
    });
    return { links: [disabling, descriptor], files: [] };
  }
  const file = element(
    'File',
    { size: first?.size, bytesTransferred: first?.size, name: 'file' },
    link('download:default', at('file')),
  );
  return { links: [disabling], files: [file] };
}

function findDownload(world: World, url: string): TransferFile | undefined {
  const [, key, name = ''] = /^\/transfer\/([^/]+)\/([^/?]+)$/.exec(url) ?? [];
  for (const { entity } of world.items()) {
    if (key === undefined || entity.downloadKey !== key) continue;
    return entity.received.find((file) => file.name === decodeURIComponent(name));
  }
  return undefined;
}

/** GET of `/transfer/…`, whole or from an offset. */
export async function getTransfer(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const file = findDownload(world, request.url ?? '');
  const path = file?.sink.path;
  if (!file || path === undefined) {
    response.writeHead(404, { 'content-length': '0' }).end();
    return;
  }
  const size = file.sink.stored;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(first ?? 0);
  const end = last ? Number(last) : size - 1;
  if (start > end || end >= size) {
    if (size > 0) {
      response.writeHead(416, { 'content-range': `bytes */${size}`, 'content-length': '0' }).end();
      return;
    }
    response.writeHead(200, { 'content-length': '0' }).end();
    return;
  }
  response.writeHead(first === undefined ? 200 : 206, {
    'content-length': String(end - start + 1),
    'accept-ranges': 'bytes',
    ...(first === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
  });
  await pipeline(createReadStream(path, { start, end }), response).catch(() => undefined);
}
