import { basename, resolve } from 'node:path';
import { SingleBar } from 'cli-progress';
import { classify, type FerryError } from '../errors.ts';
import { addressOf } from '../locate-order.ts';
import type { PackageContents } from '../ovf/contents.ts';
import { findingsOf } from '../ovf/findings.ts';
import {
  bytesOf,
  type LocatedImage,
  locateImage,
  type OpenImage,
  openImage,
} from '../ovf/image.ts';
import { firstUnchecked } from '../ovf/references.ts';
import { verifyFile } from '../ovf/verify.ts';
import { isAddress } from '../source/open-source.ts';
import { orAborted } from '../vcd/abort.ts';
import { bytes, type GlobalOptions, paint, plainTable, printJson, say } from './output.ts';
import { interruption } from './signals.ts';

interface InspectOptions extends GlobalOptions {
  readonly media?: boolean;
  readonly verify?: boolean;
}

interface ReportedFile {
  readonly name: string;
  readonly size: number;
  readonly declaredSize: number | null;
  /** As the manifest has them; with --verify of a file that it lacks what was found. */
  readonly digests: readonly { readonly algorithm: string; readonly digest: string }[];
  /** Whether the digests were found to be right; null where nothing was compared. */
  readonly verified: boolean | null;
}

/** What `inspect` found; with --json just this. */
interface Report {
  readonly source: string;
  readonly kind: 'ovf' | 'media' | null;
  readonly name: string | null;
  readonly version: string | null;
  readonly bytes: number | null;
  readonly product: PackageContents['product'];
  readonly virtualSystems: readonly string[];
  readonly systems: PackageContents['systems'];
  readonly networks: readonly string[];
  readonly disks: PackageContents['disks'];
  readonly files: readonly ReportedFile[];
  /** What makes an upload fail. */
  readonly problems: readonly {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
  }[];
  /** What an import may fail by, or what comes out other than expected. */
  readonly warnings: readonly string[];
  /** What is odd and does no harm here. */
  readonly notes: readonly string[];
}

/** Reads a package as an upload would; its disks only to verify them. Exit 1 if an upload would fail. */
export async function inspect([source = '']: string[], options: InspectOptions): Promise<number> {
  const path = isAddress(source) ? source : resolve(source);
  if (isAddress(source)) addressOf(source); // what an upload would refuse is not printed here
  const interrupt = interruption();
  let report: Report;
  try {
    report = await orAborted(reportOn(path, options, interrupt.signal), interrupt.signal);
  } catch (error) {
    if (interrupt.signal.aborted) process.exit(130); // whatever it waits for is not waited for
    const failure = classify(error);
    // What can't be read is no bad package.
    if (failure.code.startsWith('SOURCE_')) throw failure;
    report = { ...EMPTY, source: path, problems: [problem(failure)] };
  } finally {
    interrupt.close();
  }
  if (options.json) printJson(report);
  else print(report, options);
  return report.problems.length > 0 ? 1 : 0;
}

const EMPTY: Omit<Report, 'source' | 'problems'> = {
  ...{ kind: null, name: null, version: null, bytes: null, product: null },
  ...{ virtualSystems: [], systems: [], networks: [], disks: [], files: [] },
  ...{ warnings: [], notes: [] },
};

async function reportOn(
  path: string,
  options: InspectOptions,
  signal: AbortSignal,
): Promise<Report> {
  const located = await locateImage(path, options.media ?? false);
  const image = await openImage(located, { verify: 'full', collect: true, contents: true });
  try {
    const { files, problems } = options.verify
      ? await verified(image, options, signal)
      : { files: filesOf(image), problems: [] };
    const common = { ...commonOf(path, located), bytes: bytesOf(image), files };
    if (image.kind === 'media') {
      return { ...EMPTY, ...common, warnings: image.warnings, problems: problems.map(problem) };
    }
    const { contents } = image;
    const found = contents && (await findingsOf(image, contents));
    return {
      ...common,
      version: image.version,
      product: contents?.product ?? null,
      virtualSystems: image.virtualSystems,
      systems: contents?.systems ?? [],
      networks: contents?.networks ?? [],
      disks: contents?.disks ?? [],
      problems: [...image.problems, ...problems].map(problem),
      warnings: found?.warnings ?? image.warnings,
      notes: found?.notes ?? image.notes,
    };
  } finally {
    await image.close();
  }
}

function commonOf(
  source: string,
  { kind, defaultName }: LocatedImage,
): Pick<Report, 'source' | 'kind' | 'name'> {
  return { source, kind, name: defaultName };
}

function filesOf(image: OpenImage): ReportedFile[] {
  if (image.kind === 'media') {
    const { name, size } = image.file;
    const file = { name: basename(name), size, declaredSize: size };
    return [{ ...file, digests: [], verified: null }];
  }
  return image.files.map(({ href, size, declaredSize, checks }) => ({
    ...{ name: href, size, declaredSize: declaredSize ?? null },
    digests: checks.map(({ algorithm, expected }) => ({ algorithm, digest: expected })),
    verified: null,
  }));
}

/** Reads every byte. */
async function verified(
  image: OpenImage,
  { json }: InspectOptions,
  signal: AbortSignal,
): Promise<{ readonly files: ReportedFile[]; readonly problems: readonly FerryError[] }> {
  const sources = image.kind === 'media' ? [{ source: image.file, checks: [] }] : image.files;
  const bar = barOf(bytesOf(image), json ?? false);
  const problems: FerryError[] = [];
  const files: ReportedFile[] = [];
  try {
    for (const [i, file] of filesOf(image).entries()) {
      const { source, checks } = sources[i] as (typeof sources)[number];
      const found = await verifyFile(source, checks, {
        onBytes: (count) => bar?.increment(count),
        signal,
      });
      if (found.problem) problems.push(found.problem);
      // Where only parts of it have digests, nothing is known of the whole.
      const isWhole = firstUnchecked({ checks, size: file.size }) === undefined;
      const verdict = found.problem ? false : isWhole ? true : null;
      const digests = checks.length > 0 ? file.digests : found.digests;
      files.push({ ...file, digests, verified: verdict });
    }
  } finally {
    bar?.stop();
  }
  await image.assertUnchanged();
  return { files, problems };
}

/** On a terminal alone. */
function barOf(total: number, json: boolean): SingleBar | undefined {
  if (json || !process.stderr.isTTY || total === 0) return undefined;
  const bar = new SingleBar({
    format: 'verifying [{bar}] {percentage}% of {size}, {eta_formatted} left',
    clearOnComplete: true,
    hideCursor: true,
    stopOnComplete: false,
    etaBuffer: 50,
    stream: process.stderr,
  });
  bar.start(total, 0, { size: bytes(total) });
  return bar;
}

function problem({ code, message, hint }: FerryError): Report['problems'][0] {
  return { code, message, hint };
}

function print(report: Report, options: InspectOptions): void {
  const { color } = options;
  const version = report.version === null ? '' : `, OVF ${report.version}`;
  const size = report.bytes === null ? '' : `, ${bytes(report.bytes)}`;
  const what = report.kind ?? 'not a package';
  say(`${printable(report.source)}: ${what}${version}${size}`, options);
  const rows = [
    ...factRows(report),
    ...report.files.map((file) => fileRow(file, options.verify ?? false)),
  ];
  if (rows.length > 0) say(plainTable(rows.map((row) => ['', ...row.map(printable)])), options);
  for (const { code, message, hint } of report.problems) {
    say(`${paint('red', 'problem', color)}: ${code}: ${printable(message)}\n  ${hint}`, options);
  }
  for (const warning of report.warnings)
    say(`${paint('yellow', 'warning', color)}: ${printable(warning)}`, options);
  for (const note of report.notes)
    say(`${paint('dim', 'note', color)}: ${printable(note)}`, options);
}

type Row = readonly [what: string, name: string, more: string];

function factRows({ product, systems, networks, disks }: Report): Row[] {
  const rows: Row[] = [];
  if (product) {
    const { name, vendor, version } = product;
    const words = [version, vendor && `by ${vendor}`].filter((word) => word);
    rows.push(['product', name ?? '', words.join(' ')]);
  }
  for (const { id, name, os, hardware, cpus, memoryBytes, adapters } of systems) {
    const words = [
      name !== null && name !== id ? `“${name}”` : '',
      os ?? '',
      cpus === null ? '' : `${cpus} CPU${cpus === 1 ? '' : 's'}`,
      memoryBytes === null ? '' : `${bytes(memoryBytes)} of memory`,
      hardware.join(' '),
      adapters.length === 0 ? '' : `on ${adapters.map((one) => one || 'no network').join(', ')}`,
    ].filter((word) => word !== '');
    rows.push(['system', id, words.join(', ')]);
  }
  for (const network of networks) rows.push(['network', network, '']);
  for (const { id, file, capacityBytes, isDelta } of disks) {
    const words = [
      capacityBytes === null ? '' : bytes(capacityBytes),
      file === null ? 'empty' : `in ${file}`,
      isDelta ? 'a difference to another' : '',
    ].filter((word) => word !== '');
    rows.push(['disk', id, words.join(', ')]);
  }
  return rows;
}

const VERDICT = { true: ', verified', false: ', WRONG', null: '' } as const;
const BY_MANIFEST = ' by the manifest, not checked';

function fileRow({ name, size, digests, verified: verdict }: ReportedFile, wasRead: boolean): Row {
  const shown = digests.map(({ algorithm, digest }) => `${algorithm.toUpperCase()} ${digest}`);
  const digest = shown.length === 0 ? 'no digest' : shown.join(', ');
  const isUnchecked = verdict === null && !wasRead && shown.length > 0;
  const said = isUnchecked ? BY_MANIFEST : VERDICT[`${verdict}`];
  return ['file', name, `${bytes(size)}, ${digest}${said}`];
}

/** Names from an archive may hold what a terminal would obey. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?');
}
