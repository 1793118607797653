import type { IncomingMessage, ServerResponse } from 'node:http';
import { addFile } from './catalog.ts';
import { readDescriptor, readManifest } from './descriptor.ts';
import type { FaultAction } from './faults.ts';
import type { Entity, Item, SentRange, TransferFile } from './model.ts';
import { failTask, type World } from './world.ts';

/**
 * PUTs to `/transfer/…`. No session is asked for: whoever knows the address may write. A body must
 * begin exactly where what is stored ends, and what arrived before a connection broke is kept.
 *
 * Differences from a real vCD: an address that is no longer valid answers 404 (not confirmed
 * anywhere), and a stored byte counts at once, without the lag of a store shared by several cells.
 */
export async function putTransfer(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
  fault: FaultAction | undefined,
): Promise<void> {
  const key = /^\/transfer\/([^/]+)\/[^/]+$/.exec(request.url ?? '')?.[1] ?? '';
  const found = world.transferFile(key);
  if (found) world.expireIdleTransfer(found.item.entity);
  const target = world.transferFile(key);
  if (!target) {
    end(response, 404);
    return;
  }
  const range = rangeOf(request);
  // A range that makes no sense is not answered: vCD closes the connection (seen in the field).
  if (range === 'nonsense') return void request.socket.destroy();
  if (range === 'no length') return end(response, 411);
  const refusal = refuse(target.file, range);
  if (refusal) return end(response, refusal.status, refusal.reason);

  const { item, file } = target;
  const sent: SentRange = { start: range.start, end: range.end, arrived: 0, stored: 0 };
  file.ranges.push(sent);
  const complete = await receive(world, request, { item, file, sent }, fault);
  if (complete === 'lost') return;
  if (file.sink.stored === range.total) await finishFile(world, item, file);
  if (fault?.loseReply) return void request.socket.destroy();
  end(response, 200);
}

interface Range {
  readonly start: number;
  readonly end: number;
  readonly total: number;
}

function rangeOf({ headers }: IncomingMessage): Range | 'nonsense' | 'no length' {
  if (headers['content-length'] === undefined) return 'no length';
  const length = Number(headers['content-length']);
  const text = headers['content-range'];
  if (text === undefined) return { start: 0, end: length, total: length };
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(text) ?? [];
  if (first === undefined) return 'nonsense';
  const range = { start: Number(first), end: Number(last) + 1, total: Number(total) };
  if (range.end - range.start !== length || range.end > range.total) return 'nonsense';
  return range;
}

function refuse(file: TransferFile, range: Range): { status: number; reason?: string } | undefined {
  if (file.complete || range.start !== file.sink.stored) {
    return {
      status: 416,
      reason: 'Content-Range not satisifiable: Request must begin at the last byte stored',
    };
  }
  if (file.size !== undefined && range.total !== file.size) {
    return { status: 400, reason: 'Client sent more data than expected' };
  }
  return undefined;
}

interface Receiving {
  readonly item: Item;
  readonly file: TransferFile;
  readonly sent: SentRange;
}

async function receive(
  world: World,
  request: IncomingMessage,
  { item, file, sent }: Receiving,
  fault: FaultAction | undefined,
): Promise<'all' | 'lost'> {
  const stopAfter = fault?.resetAfterBytes ?? fault?.stallAfterBytes ?? Number.POSITIVE_INFINITY;
  try {
    for await (const whole of request as AsyncIterable<Buffer>) {
      const chunk = whole.subarray(0, Math.max(0, stopAfter - sent.arrived));
      sent.arrived += chunk.length;
      // Another connection may have written meanwhile: a byte is only ever stored in its place.
      if (file.sink.stored !== sent.start + sent.stored) {
        request.socket.destroy();
        return 'lost';
      }
      await file.sink.write(chunk);
      sent.stored += chunk.length;
      world.touchTransfer(item.entity);
      if (sent.arrived >= stopAfter) return stop(request, fault);
      await world.throttle(chunk.length);
    }
  } catch {
    return 'lost'; // the connection broke; what was stored stays
  }
  return request.complete ? 'all' : 'lost';
}

async function stop(request: IncomingMessage, fault: FaultAction | undefined): Promise<'lost'> {
  if (fault?.stallAfterBytes === undefined) {
    request.socket.resetAndDestroy();
    return 'lost';
  }
  request.pause();
  await new Promise((resolve) => request.socket.once('close', resolve));
  return 'lost';
}

function end(response: ServerResponse, status: number, reason?: string): void {
  if (reason !== undefined) response.statusMessage = reason;
  response.writeHead(status, { 'content-length': '0' });
  response.end();
}

async function finishFile(world: World, item: Item, file: TransferFile): Promise<void> {
  file.complete = true;
  file.completedAt = Date.now();
  await file.sink.close();
  const { entity } = item;
  if (entity.kind === 'vAppTemplate' && file === entity.received[0]) {
    const { linkDelayMs } = world.options;
    if (linkDelayMs === 0) acceptDescriptor(world, item, file);
    else setTimeout(() => acceptDescriptor(world, item, file), linkDelayMs).unref();
  } else if (entity.files.every(({ complete }) => complete)) {
    startImport(world, item);
  }
}

/** Validates the descriptor and opens the files' addresses, or fails the whole upload. */
function acceptDescriptor(world: World, item: Item, file: TransferFile): void {
  const { entity } = item;
  if (entity.descriptorUploaded || entity.status !== 0) return;
  try {
    const expected = readDescriptor(file.sink.bytes());
    if (entity.manifestRequired) addFile(world, entity, 'manifest.mf', undefined, true);
    for (const { name, size } of expected) addFile(world, entity, name, size);
  } catch (error) {
    fail(entity, 'BAD_REQUEST', (error as Error).message, 400);
    return;
  }
  entity.descriptorUploaded = true;
  if (entity.files.every(({ complete }) => complete)) startImport(world, item);
}

/** From here on nobody has to do anything: the files are imported, then the item is ready. */
function startImport(world: World, item: Item): void {
  const { entity } = item;
  const mismatch = entity.manifestRequired ? findMismatch(entity) : undefined;
  if (mismatch !== undefined) {
    fail(entity, 'BAD_REQUEST', `The checksum of ${mismatch} does not match the manifest.`, 400);
    return;
  }
  entity.task.progress = 50;
  const ready = (): void => {
    entity.files = [];
    entity.status = entity.kind === 'media' ? 1 : 8;
    entity.task.status = 'success';
    entity.task.progress = 100;
    entity.task.end = new Date();
  };
  if (world.options.importTimeMs === 0) ready();
  else setTimeout(ready, world.options.importTimeMs).unref();
}

function fail(entity: Entity, minorCode: string, message: string, majorCode: number): void {
  entity.status = -1;
  entity.files = [];
  failTask(entity.task, minorCode, message, majorCode);
}

/** The first file whose bytes are not what the manifest says, by its name there. */
function findMismatch(entity: Entity): string | undefined {
  const manifest = entity.received.find(({ name }) => name === 'manifest.mf');
  const entries = readManifest(manifest?.sink.bytes() ?? Buffer.alloc(0));
  const named = new Set<string>();
  for (const { algorithm, name, digest } of entries) {
    // The descriptor is stored under the server's own name.
    const file =
      entity.received.find((candidate) => candidate.name === name) ??
      (/\.ovf$/i.test(name) ? entity.received[0] : undefined);
    if (!file || file.sink.digest(algorithm) !== digest) return name;
    named.add(file.name);
  }
  return entity.received.find((file) => file !== manifest && !named.has(file.name))?.name;
}
