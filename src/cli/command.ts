import type { Command } from 'commander';

/** A command's work; what it returns is the exit status. */
export type Action = (args: string[], options: never) => Promise<number>;

/** Told of each command that is called; its work is loaded only then. */
export type OnCall = (command: Command, load: () => Promise<Action>) => Promise<void>;

/** Shown below a command's options: what to type, and what for. */
export type Examples = Readonly<Record<string, string>>;

/** Adds a command to the program. */
export type Add = (command: Command, load: () => Promise<Action>, examples: Examples) => void;
