import { type ErrorCode, type Facts, FerryError } from '../errors.ts';
import { parseXml, REPLY_LIMITS, type XmlElement } from '../xml.ts';
import type { HttpAnswer } from './http.ts';

/** Which table of meanings applies to an answer. */
export type Phase =
  /** An object that was there before: 403 and 404 say that it is gone (vCD does not tell them apart). */
  | 'object'
  /** Adding to a catalog: 403 says that the right is missing. */
  | 'create'
  /** A PUT to a transfer address. */
  | 'transfer';

const COMMON: Readonly<Record<number, ErrorCode>> = {
  401: 'AUTH_REJECTED', // after fresh logins; an expired token is renewed below this table
  406: 'VERSION_UNSUPPORTED',
  408: 'SERVER_UNAVAILABLE',
  409: 'ITEM_BUSY',
  423: 'ITEM_BUSY',
  429: 'SERVER_UNAVAILABLE',
};

const BY_PHASE: Readonly<Record<Phase, Readonly<Record<number, ErrorCode>>>> = {
  object: { ...COMMON, 403: 'ITEM_GONE', 404: 'ITEM_GONE', 410: 'ITEM_GONE' },
  create: { ...COMMON, 403: 'CATALOG_FORBIDDEN', 404: 'CATALOG_NOT_FOUND' },
  transfer: {
    ...COMMON,
    // Whether the transfer is over only the entity knows: a balancer says such things, too.
    401: 'TRANSFER_REFUSED',
    403: 'TRANSFER_REFUSED',
    404: 'TRANSFER_REFUSED',
    410: 'TRANSFER_REFUSED',
    413: 'SERVER_UNAVAILABLE',
    416: 'OFFSET_MISMATCH',
  },
};

/** vCD's own codes say more than the status, which differs between releases. */
const BY_MINOR_CODE: Readonly<Record<string, ErrorCode>> = {
  DUPLICATE_NAME: 'NAME_TAKEN',
  BUSY_ENTITY: 'ITEM_BUSY',
  OPERATION_LIMITS_EXCEEDED: 'TARGET_BUSY',
};

/** A server that asks for more is asked again all the same. */
const LONGEST_WAIT_MS = 10 * 60_000;

const TOO_LARGE =
  'Something in front of vCD allows only smaller requests: pieces are made smaller by themselves. Raise its limit, or set `worker.chunkSize` below it.';

/** vCD says the same of what is not there and of what one may not see. */
export function isUnseen(error: unknown): boolean {
  return error instanceof FerryError && error.code === 'ITEM_GONE';
}

/** What `<Error>` says: all of it is in attributes. */
export interface VcdMessage {
  readonly message: string;
  readonly minorCode: string | undefined;
  /** Mostly an HTTP status. */
  readonly majorCode: number | undefined;
}

export function messageOf(error: XmlElement): VcdMessage {
  return {
    message: error.attribute('message') ?? '',
    minorCode: error.attribute('minorErrorCode'),
    majorCode: majorCodeOf(error.attribute('majorErrorCode')),
  };
}

function majorCodeOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Several codes say so, of organisations, vDCs and storage profiles. */
export function isQuota(minorCode: string | undefined): boolean {
  return minorCode?.includes('QUOTA') ?? false;
}

/**
 * The one place where an answer that is no success becomes an error.
 *
 * @param label the request in words, without a transfer's address
 */
export function errorOfAnswer(answer: HttpAnswer, phase: Phase, label: string): FerryError {
  const { status, headers, body } = answer;
  const vcd = parseMessage(body);
  const requestId = headers['x-vmware-vcloud-request-id']?.toString();
  const facts: Facts = {
    status,
    ...(vcd?.minorCode === undefined ? {} : { minorCode: vcd.minorCode }),
    ...(requestId === undefined ? {} : { requestId }),
  };
  const details = { facts, retryAfterMs: retryAfterMs(headers) };
  if (status >= 300 && status < 400) {
    return new FerryError(
      'NOT_VCD',
      `${label} was answered ${status}, a redirection${placeOf(headers)}; credentials follow none`,
      { ...details, hint: "Put the address that vCD itself has into the target's `url`." },
    );
  }
  if (isForeignPage(body)) {
    return new FerryError(
      'SERVER_UNAVAILABLE',
      `${label} was answered ${status} by something in front of vCD (an HTML page: a firewall or load balancer?)`,
      details,
    );
  }
  const byCode = codeOfMinorCode(vcd?.minorCode);
  const code =
    byCode ?? BY_PHASE[phase][status] ?? (status >= 500 ? 'SERVER_UNAVAILABLE' : 'VCD_REJECTED');
  const said = vcd?.message ? `: ${vcd.message}` : silence(answer, phase);
  const hint = status === 413 && phase === 'transfer' ? { hint: TOO_LARGE } : {};
  return new FerryError(code, `${label} was answered ${status}${said}`, { ...details, ...hint });
}

/** vCD names each of its own answers, but for those to transfers. */
function silence({ headers, body }: HttpAnswer, phase: Phase): string {
  if (phase === 'transfer' || headers['x-vmware-vcloud-request-id'] !== undefined) return '';
  return body.trim() === ''
    ? ', with nothing else and without a request id: not by vCD itself?'
    : ', by something that does not speak as vCD does';
}

/** The host alone: an address may hold secrets. */
function placeOf(headers: HttpAnswer['headers']): string {
  const location = headers['location']?.toString() ?? '';
  return URL.canParse(location) ? ` to ${new URL(location).host}` : '';
}

function codeOfMinorCode(minorCode: string | undefined): ErrorCode | undefined {
  if (isQuota(minorCode)) return 'QUOTA_EXCEEDED';
  return minorCode === undefined ? undefined : BY_MINOR_CODE[minorCode];
}

function parseMessage(body: string): VcdMessage | undefined {
  if (body.startsWith('{')) return parseJsonMessage(body);
  if (!body.trimStart().startsWith('<') || isForeignPage(body)) return undefined;
  try {
    const root = parseXml(body, REPLY_LIMITS);
    return root.name === 'Error' ? messageOf(root) : undefined;
  } catch {
    return undefined; // whatever it is, it says nothing to us
  }
}

function parseJsonMessage(body: string): VcdMessage | undefined {
  try {
    const { message, minorErrorCode } = JSON.parse(body) as Record<string, unknown>;
    return {
      message: typeof message === 'string' ? message : '',
      minorCode: typeof minorErrorCode === 'string' ? minorErrorCode : undefined,
      majorCode: undefined,
    };
  } catch {
    return undefined;
  }
}

/** What a firewall, a balancer or a web server says in place of vCD. */
export function isForeignPage(body: string): boolean {
  return /^\s*(<!doctype html|<html)/i.test(body.slice(0, 200));
}

/** Seconds or a date (RFC 9110 §10.2.3). */
function retryAfterMs(headers: HttpAnswer['headers']): number | undefined {
  const text = headers['retry-after']?.toString();
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, LONGEST_WAIT_MS) : undefined;
}
