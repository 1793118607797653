import type { IncomingMessage, ServerResponse } from 'node:http';
import { cut, reset } from './call.ts';
import type { FaultAction } from './faults.ts';
import { finishFile, storeBytes } from './files.ts';
import type { Item, SentRange, TransferFile } from './model.ts';
import type { World } from './world.ts';

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

  const { transferStoreBytes } = world.options;
  // What all transfers share is full: nothing of the range is kept.
  if (
    transferStoreBytes > 0 &&
    world.transferStoreUsed + range.end - range.start > transferStoreBytes
  ) {
    return end(response, 500, 'Error persisting client data');
  }
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
      const stored = fault?.damage ? Buffer.alloc(kept.length, 'damaged') : kept;
      if (kept.length > 0) await store(world, { item, file, sent }, stored);
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
  await storeBytes(world, { item, file }, bytes);
  sent.stored += bytes.length;
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
