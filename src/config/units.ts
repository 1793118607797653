/** Sizes, rates and times as people write them. Strict: a bare `200M` could mean several things. */

const SIZE: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** `50MiB` → bytes; undefined if it is not a size. */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text.trim()) ?? [];
  const factor = SIZE[unit];
  return number === undefined || factor === undefined
    ? undefined
    : Math.round(Number(number) * factor);
}

/** `200MB/s` or `180Mbit/s` → bytes per second; undefined if it is not a rate. */
export function parseRate(text: string): number | undefined {
  const bits = /^(\d+(?:\.\d+)?)\s*([kMG])bit\/s$/.exec(text.trim());
  if (bits) {
    const factor = { k: 1e3, M: 1e6, G: 1e9 }[bits[2] as 'k' | 'M' | 'G'];
    return Math.round((Number(bits[1]) * factor) / 8);
  }
  const [, size] = /^(.+)\/s$/.exec(text.trim()) ?? [];
  return size === undefined ? undefined : parseSize(size);
}

const TIME: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `30s`, `500ms`, `2h` → milliseconds; undefined if it is not a time. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(text.trim()) ?? [];
  const factor = TIME[unit];
  return number === undefined || factor === undefined ? undefined : Number(number) * factor;
}

/** `127.0.0.1:9464`, `[::1]:9464`, or `:9464` for all addresses; undefined if it is none of these. */
export function parseListen(text: string): { host: string; port: number } | undefined {
  const [, host = '', port] = /^(\[[^\]]+\]|[^:]*):(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65_535) return undefined;
  const bare = host.replace(/^\[|\]$/g, '');
  return { host: bare === '' ? '::' : bare, port: Number(port) };
}
