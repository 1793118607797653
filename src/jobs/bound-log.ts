import type { Log } from './upload-deps.ts';

/** A log whose every line also carries these fields. */
export function boundLog(log: Log, fields: Parameters<Log['info']>[0]): Log {
  const line =
    (level: keyof Log): Log['info'] =>
    (more, message) =>
      log[level]({ ...fields, ...more }, message);
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}
