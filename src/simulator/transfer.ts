import type { IncomingMessage, ServerResponse } from 'node:http';
import { cut, reset } from './call.ts';
import { addFile } from './catalog.ts';
import { readDescriptor, readManifest } from './descriptor.ts';
import type { FaultAction } from './faults.ts';
import type { Entity, Item, SentRange, TransferFile } from './model.ts';
import { failTask, type World } from './world.ts';

/** How long is remembered what was stored when. */
const HISTORY_MS = 60_000;

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
  if (found && fault?.expireTransfer) world.expireTransfer(found.item.entity);
  const target = world.transferFile(key);
  if (!target) {
    end(response, 404);
    return;
  }
  const range = rangeOf(request);
  // A range that makes no sense is not answered: vCD closes the connection (seen in the field).
  if (range === 'nonsense') return void cut(request);
  if (range === 'no length') return end(response, 411);
  const refusal = refuse(target.file, range);
  if (refusal) return end(response, refusal.status, refusal.reason);

  const { item, file } = target;
  if (fault?.failImport) item.entity.importFault = fault.failImport;
  const name = String(request.headers['x-vmware-vcloud-client-request-id'] ?? '');
  const { start, end: rangeEnd } = range;
  const sent: SentRange = { start, end: rangeEnd, arrived: 0, stored: 0, request: name };
  file.ranges.push(sent);
  if (fault?.landLater) return landLater(world, request, { item, file, sent }, fault.landLater);
  const complete = await receive(world, request, { item, file, sent }, fault);
  // With the last byte the file is complete, whatever becomes of the connection.
  if (file.sink.stored === range.total && !file.complete) await finishFile(world, item, file);
  if (complete === 'lost') return;
  if (fault?.loseReply) return void cut(request);
  if (fault?.closeAfter) response.shouldKeepAlive = false;
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
  const storeAtMost = fault?.storeAtMost ?? Number.POSITIVE_INFINITY;
  try {
    for await (const whole of request as AsyncIterable<Buffer>) {
      const chunk = whole.subarray(0, Math.max(0, stopAfter - sent.arrived));
      sent.arrived += chunk.length;
      world.totals.arrived += chunk.length;
      // Another connection may have written meanwhile: a byte is only ever stored in its place.
      if (sent.stored < storeAtMost && file.sink.stored !== sent.start + sent.stored) {
        cut(request);
        return 'lost';
      }
      const kept = chunk.subarray(0, Math.max(0, storeAtMost - sent.stored));
      world.totals.thrownAway += chunk.length - kept.length;
      if (kept.length > 0) await store(world, { item, file, sent }, kept);
      if (sent.arrived >= stopAfter) return stop(request, fault);
      if (sent.stored >= storeAtMost) continue; // read, and forgotten
      await world.throttle(chunk.length);
      if (fault?.bytesPerSecond) await wait((chunk.length / fault.bytesPerSecond) * 1000);
    }
  } catch {
    return 'lost'; // the connection broke; what was stored stays
  }
  return request.complete ? 'all' : 'lost';
}

async function store(world: World, { item, file, sent }: Receiving, bytes: Buffer): Promise<void> {
  await file.sink.write(bytes);
  sent.stored += bytes.length;
  const at = Date.now();
  file.history.push({ at, stored: file.sink.stored });
  if ((file.history[0]?.at ?? at) < at - HISTORY_MS) file.history.shift();
  world.touchTransfer(item.entity);
}

/** The client sees a broken connection; what it sent arrives after a while, if it still fits then. */
async function landLater(
  world: World,
  request: IncomingMessage,
  receiving: Receiving,
  { bytes, ms }: { readonly bytes: number; readonly ms: number },
): Promise<void> {
  const { item, file, sent } = receiving;
  const { socket } = request; // leaving the loop below may take it from the request
  const held: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      const taken = chunk.subarray(0, bytes - sent.arrived);
      held.push(Buffer.from(taken));
      sent.arrived += taken.length;
      world.totals.arrived += taken.length;
      if (sent.arrived >= bytes) break;
    }
  } catch {
    // the client went first
  }
  reset({ socket });
  await wait(ms);
  if (file.complete || file.sink.stored !== sent.start || item.entity.status !== 0) {
    world.totals.thrownAway += sent.arrived;
    return;
  }
  for (const chunk of held) await store(world, receiving, chunk);
  if (file.sink.stored === file.size) await finishFile(world, item, file);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function stop(request: IncomingMessage, fault: FaultAction | undefined): Promise<'lost'> {
  if (fault?.stallAfterBytes === undefined) {
    reset(request);
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
    if (entity.importFault) {
      const { minorCode, message, majorCode } = entity.importFault;
      fail(entity, minorCode, message, majorCode);
      return;
    }
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
