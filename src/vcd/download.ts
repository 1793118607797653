import { FerryError } from '../errors.ts';
import { errorOfAnswer } from './answer.ts';
import type { CallContext, VcdApi } from './api.ts';
import type { EntityState } from './entity.ts';
import type { HttpStream } from './http.ts';
import { parseTask, type TaskState } from './task.ts';

/** Bytes of a file as they come in. */
export interface DownloadBody {
  /** Of the first byte that comes: a server that knows no ranges begins at 0, whatever it was asked. */
  readonly start: number;
  /** Bytes of the whole file. */
  readonly size: number;
  readonly chunks: AsyncIterableIterator<Buffer>;
  close(): void;
}

/** `POST …/action/enableDownload`, which takes as long as copying what there is. */
export async function enableDownload(
  api: VcdApi,
  { name, download }: Pick<EntityState, 'name' | 'download'>,
  context: CallContext,
): Promise<TaskState | undefined> {
  const href = download.enableHref;
  if (href === undefined) {
    throw new FerryError('DOWNLOAD_FORBIDDEN', `${name} can't be enabled for download`, {
      facts: { name },
    });
  }
  const task = await api.request({ method: 'POST', href }, context);
  return task && parseTask(task);
}

export async function disableDownload(
  api: VcdApi,
  { download: { disableHref: href } }: Pick<EntityState, 'download'>,
  context: CallContext,
): Promise<void> {
  if (href !== undefined) await api.request({ method: 'POST', href }, context);
}

/** The one place that asks for ranges: HTTP counts the end inclusively. */
export async function openDownload(
  api: VcdApi,
  href: string,
  { start, end }: { readonly start: number; readonly end?: number },
  context: CallContext,
): Promise<DownloadBody> {
  const range = `bytes=${start}-${end === undefined ? '' : end - 1}`;
  const { label, ...answer } = await api.fetchTransfer(href, { range }, context);
  try {
    if (answer.status !== 200 && answer.status !== 206) {
      // Of an empty file no byte can be asked for.
      if (answer.status === 416 && start === 0) return { ...answer, start: 0, size: 0 };
      const { status, headers } = answer;
      throw errorOfAnswer({ status, headers, body: '' }, 'transfer', label);
    }
    return { ...answer, ...whereOf(answer, label, start) };
  } catch (error) {
    answer.close();
    throw error;
  }
}

function whereOf(
  { status, headers }: HttpStream,
  label: string,
  wanted: number,
): Pick<DownloadBody, 'start' | 'size'> {
  const odd = (what: string): FerryError =>
    new FerryError('SERVER_UNAVAILABLE', `${label} was answered with ${what}`);
  const coding = String(headers['content-encoding'] ?? 'identity');
  if (coding !== 'identity') throw odd(`${coding}-coded bytes, whose offsets are not the file's`);
  if (status === 200) {
    const length = String(headers['content-length'] ?? '');
    if (!/^\d+$/.test(length)) throw odd('no length');
    return { start: 0, size: Number(length) };
  }
  const [, from, size] =
    /^bytes (\d+)-\d+\/(\d+)$/.exec(String(headers['content-range'] ?? '')) ?? [];
  if (from === undefined || Number(from) !== wanted) throw odd('another range than was asked for');
  return { start: wanted, size: Number(size) };
}
