import { type Logger, pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug';

/** JSON lines on stderr for machines, readable ones on a terminal. Nothing secret is ever passed in. */
export function createLog(level: LogLevel, isTerminal: boolean): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (!isTerminal) return pino(options, pino.destination({ dest: 2, sync: true }));
  return pino(options, prettyStream({ destination: 2, sync: true, ignore: 'pid,hostname' }));
}
