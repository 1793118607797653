import { resolve } from 'node:path';
import { classify, type FerryError } from '../errors.ts';
import { locateImage, openImage } from '../ovf/image.ts';
import { isAddress } from '../source/open-source.ts';
import { bytes, type GlobalOptions, paint, printJson, say } from './output.ts';

/** What `inspect` found; with --json just this. */
interface Report {
  readonly source: string;
  readonly kind: 'ovf' | 'media' | null;
  readonly name: string | null;
  readonly version: string | null;
  readonly virtualSystems: readonly string[];
  readonly files: readonly {
    readonly name: string;
    readonly size: number;
    readonly declaredSize: number | null;
    readonly digests: readonly { readonly algorithm: string; readonly digest: string }[];
  }[];
  readonly warnings: readonly string[];
  readonly problems: readonly {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
  }[];
}

/** Reads a package as an upload would, without reading its disks. Exit 1 if an upload would fail. */
export async function inspect(
  [source = '']: string[],
  options: GlobalOptions & { readonly media?: boolean },
): Promise<number> {
  const path = isAddress(source) ? source : resolve(source);
  let report: Report;
  try {
    report = await reportOn(path, options.media ?? false);
  } catch (error) {
    const failure = classify(error);
    if (failure.code === 'SOURCE_NOT_FOUND') throw failure;
    report = { ...EMPTY, source: path, problems: [problem(failure)] };
  }
  if (options.json) printJson(report);
  else print(report, options);
  return report.problems.length > 0 ? 1 : 0;
}

const EMPTY = {
  kind: null,
  name: null,
  version: null,
  virtualSystems: [],
  files: [],
  warnings: [],
} as const;

async function reportOn(path: string, media: boolean): Promise<Report> {
  const located = await locateImage(path, media);
  const image = await openImage(located, { verify: 'full', collect: true });
  await image.close();
  const common = { source: path, kind: located.kind, name: located.defaultName };
  if (image.kind === 'media') {
    const { size } = image.file;
    const file = { name: located.defaultName, size, declaredSize: size, digests: [] };
    return { ...EMPTY, ...common, files: [file], problems: [] };
  }
  return {
    ...common,
    version: image.version,
    virtualSystems: image.virtualSystems,
    files: image.files.map(({ href, size, declaredSize, checks }) => ({
      name: href,
      size,
      declaredSize: declaredSize ?? null,
      digests: checks.map(({ algorithm, expected }) => ({ algorithm, digest: expected })),
    })),
    warnings: image.warnings,
    problems: image.problems.map(problem),
  };
}

function problem({ code, message, hint }: FerryError): Report['problems'][0] {
  return { code, message, hint };
}

function print(report: Report, options: GlobalOptions): void {
  const { color } = options;
  const version = report.version === null ? '' : `, OVF ${report.version}`;
  say(`${report.source}: ${report.kind ?? 'not a package'}${version}`, options);
  for (const { name: raw, size, digests } of report.files) {
    const name = printable(raw);
    const checked = digests.map(({ algorithm }) => algorithm.toUpperCase()).join(', ');
    say(`  ${name}: ${bytes(size)}, ${checked === '' ? 'no digest' : checked}`, options);
  }
  for (const id of report.virtualSystems) say(`  virtual system ${printable(id)}`, options);
  for (const warning of report.warnings)
    say(`${paint('yellow', 'warning', color)}: ${printable(warning)}`, options);
  for (const { code, message, hint } of report.problems) {
    say(`${paint('red', 'problem', color)}: ${code}: ${printable(message)}\n  ${hint}`, options);
  }
}

/** Names from an archive may hold what a terminal would obey. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}
