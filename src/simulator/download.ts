import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { findByEntity } from './access.ts';
import { DOWNLOAD_RIGHT } from './accounts.ts';
import { type Call, cut, type Reply, type Route, reset } from './call.ts';
import { ApiError, badRequest, missingRight } from './errors.ts';
import type { FaultAction } from './faults.ts';
import { type Entity, type Item, isOpen, newTask, type TransferFile } from './model.ts';
import { doneTask, entityHref, taskElement } from './parts.ts';
import { hasRight } from './sessions.ts';
import type { World } from './world.ts';
import { element, link, type Markup } from './xml.ts';

const PATH = '/api/(?:vAppTemplate|media)/([^/]+)/action';

/**
 * Fetching what was uploaded: it is enabled first, as a task, and then has addresses of its own, which
 * run out when nobody asks for a byte for as long as a transfer may be idle.
 *
 * Differences from a real vCD: the descriptor comes back as it was uploaded, and disks byte for byte; a
 * real one makes both anew.
 */
export const downloadRoutes: readonly Route[] = [
  { method: 'POST', path: new RegExp(`^${PATH}/enableDownload$`), handle: enable },
  { method: 'POST', path: new RegExp(`^${PATH}/disableDownload$`), handle: disable },
];

function enable(call: Call): Reply {
  const { world } = call;
  const item = findByEntity(call);
  const { entity } = item;
  if (!hasRight(call.session, DOWNLOAD_RIGHT)) throw missingRight(DOWNLOAD_RIGHT, 'download');
  if (entity.task.status !== 'success')
    throw badRequest('Bad request\n - The entity is not ready.');
  if (entity.enabling && isOpen(entity.enabling)) {
    throw new ApiError(400, 'BUSY_ENTITY', `The entity ${item.name} is busy.`);
  }
  if (entity.received.some(({ sink }) => sink.path === undefined)) {
    throw new ApiError(400, 'BAD_REQUEST', 'This simulator keeps no bytes: use --store.');
  }
  const { downloadTimeMs } = world.options;
  if (downloadTimeMs === 0) {
    offer(entity);
    return doneTask(call, item, 'vappEnableDownload', 'Enabling download of');
  }
  const task = newTask('vappEnableDownload', 'Enabling download of', call.session);
  entity.enabling = task;
  world.finishedTasks.set(task.id, { item, task });
  setTimeout(() => {
    Object.assign(task, { status: 'success', progress: 100, end: new Date() });
    offer(entity);
  }, downloadTimeMs).unref();
  return { status: 202, type: 'task', xml: taskElement(call, item, task) };
}

function offer(entity: Entity): void {
  entity.download ??= { key: randomUUID(), touchedAt: Date.now() };
  entity.download.touchedAt = Date.now();
}

function disable(call: Call): Reply {
  const item = findByEntity(call);
  if (!hasRight(call.session, DOWNLOAD_RIGHT)) throw missingRight(DOWNLOAD_RIGHT, 'download');
  delete item.entity.download;
  return { status: 204 };
}

/** What an entity shows of it: a template one link, to the descriptor, media a file. */
export function downloadParts(
  { world, session }: Pick<Call, 'world' | 'session'>,
  item: Item,
): { links: Markup[]; files: Markup[] } {
  const { entity } = item;
  const href = `${entityHref(world, item)}/action`;
  expireIdle(world, entity);
  if (
    entity.kind === 'vApp' ||
    entity.task.status !== 'success' ||
    !hasRight(session, DOWNLOAD_RIGHT)
  ) {
    return { links: [], files: [] };
  }
  const { download } = entity;
  if (!download) return { links: [link('enable', `${href}/enableDownload`)], files: [] };
  const at = (name: string): string =>
    `${world.transferBase}/transfer/${download.key}/${encodeURIComponent(name)}`;
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
  // The guide shows a count of 0: it is of what was uploaded by this address.
  const file = element(
    'File',
    { size: first?.size, bytesTransferred: 0, name: 'file' },
    link('download:default', at('file')),
  );
  return { links: [disabling], files: [file] };
}

function expireIdle({ options }: World, entity: Entity): void {
  const { download } = entity;
  if (download && Date.now() - download.touchedAt > options.transferIdleMs) delete entity.download;
}

function findDownload(
  world: World,
  url: string,
): { entity: Entity; file: TransferFile | undefined } | undefined {
  const [, key, name = ''] = /^\/transfer\/([^/]+)\/([^?]+)$/.exec(url) ?? [];
  for (const { entity } of world.items()) {
    if (key === undefined || entity.download?.key !== key) continue;
    const wanted = decodeURIComponent(name);
    // A manifest that was uploaded is given out beside the descriptor.
    const stored = wanted === 'descriptor.mf' ? 'manifest.mf' : wanted;
    return { entity, file: entity.received.find((file) => file.name === stored) };
  }
  return undefined;
}

/** GET of `/transfer/…`, whole or from an offset. */
export async function getTransfer(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
  fault: FaultAction | undefined,
): Promise<void> {
  const found = findDownload(world, request.url ?? '');
  if (found && fault?.expireTransfer) delete found.entity.download;
  if (found) expireIdle(world, found.entity);
  const path = found?.file?.sink.path;
  if (!found?.file || !found.entity.download || path === undefined) {
    response.writeHead(404, { 'content-length': '0' }).end();
    return;
  }
  const size = found.file.sink.stored;
  const asked = world.options.downloadRanges ? (request.headers.range ?? '') : '';
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(asked) ?? [];
  const start = Number(first ?? 0);
  const end = last ? Math.min(Number(last), size - 1) : size - 1;
  if (start > end) {
    const status = size > 0 || first !== undefined ? 416 : 200;
    const range = status === 416 ? { 'content-range': `bytes */${size}` } : {};
    response.writeHead(status, { ...range, 'content-length': '0' }).end();
    return;
  }
  response.writeHead(first === undefined ? 200 : 206, {
    'content-length': String(end - start + 1),
    'accept-ranges': 'bytes',
    ...(first === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
  });
  const { download } = found.entity;
  await give(world, { request, response, fault }, { path, start, end, download });
}

interface Giving {
  readonly path: string;
  readonly start: number;
  /** Inclusive. */
  readonly end: number;
  readonly download: { touchedAt: number };
}

async function give(
  world: World,
  {
    request,
    response,
    fault,
  }: { request: IncomingMessage; response: ServerResponse; fault: FaultAction | undefined },
  { path, start, end, download }: Giving,
): Promise<void> {
  const stopAfter = fault?.resetAfterBytes ?? fault?.stallAfterBytes ?? Number.POSITIVE_INFINITY;
  let given = 0;
  for await (const whole of createReadStream(path, { start, end })) {
    if (response.destroyed) return;
    const chunk = (whole as Buffer).subarray(0, Math.max(0, stopAfter - given));
    const bytes = fault?.damage ? Buffer.alloc(chunk.length, 'damaged') : chunk;
    given += bytes.length;
    world.totals.served += bytes.length;
    download.touchedAt = Date.now();
    await world.throttle(bytes.length);
    if (!(await write(response, bytes))) return;
    if (given < stopAfter) continue;
    if (fault?.stallAfterBytes === undefined) reset(request);
    else await new Promise((resolve) => request.socket.once('close', resolve));
    return;
  }
  if (fault?.loseReply) return void cut(request);
  response.end();
}

/** @returns false once nobody listens any more */
function write(response: ServerResponse, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const onClose = (): void => resolve(false);
    response.once('close', onClose);
    response.write(bytes, (error) => {
      response.off('close', onClose);
      resolve(!error);
    });
  });
}
