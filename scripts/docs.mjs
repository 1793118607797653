// Writes what is said of configuration and commands where they are defined: docs/configuration.md,
// docs/ovaferry.schema.json, docs/commands.md. With --check it writes nothing and fails where they differ.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { createProgram, examplesOf } from '../dist/cli/program.js';
import { configSchema } from '../dist/config/schema.js';

const root = join(import.meta.dirname, '..');
const GENERATED =
  '<!-- Made by `npm run docs` of what stands in the source. Changes here are lost. -->\n';

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const row = (...cells) => `| ${cells.map((text) => cell(text)).join(' | ')} |`;

/** What a value may be, in words. */
function wordsOf(schema) {
  if (schema.title === 'a timetable') return 'a timetable';
  if (schema.anyOf) return schema.anyOf.map(wordsOf).join(', or ');
  if (schema.title) return schema.title;
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum) return schema.enum.map((one) => `\`${one}\``).join(', ');
  if (schema.type === 'integer') return `${schema.minimum} to ${schema.maximum}`;
  if (schema.type === 'boolean') return '`true` or `false`';
  if (schema.type === 'array') return `a list: ${wordsOf(schema.items)}`;
  if (schema.type === 'object') return 'headers';
  return 'text';
}

function defaultOf(schema, isRequired) {
  if (isRequired) return '**required**';
  const { default: value } = schema;
  if (value === undefined || typeof value === 'object') return '';
  return `\`${value}\``;
}

/** One row for each key; a section of its own for what has more keys. */
function* keysOf(schema, path = '') {
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    const name = path === '' ? key : `${path}.${key}`;
    const isRequired = (schema.required ?? []).includes(key);
    const inner = value.additionalProperties;
    if (typeof inner === 'object' && inner.properties) yield* keysOf(inner, `${name}.NAME`);
    else if (typeof inner === 'object' && inner.anyOf)
      yield rowOf(`${name}.NAME`, { ...inner, description: value.description }, false);
    else if (value.properties) yield* keysOf(value, name);
    else if (value.type === 'array' && value.items.properties) {
      yield rowOf(`${name}[]`, { ...value, title: 'a list of' }, isRequired);
      yield* keysOf(value.items, `${name}[]`);
    } else yield rowOf(name, value, isRequired);
  }
}

function rowOf(name, schema, isRequired) {
  return row(
    `\`${name}\``,
    wordsOf(schema),
    defaultOf(schema, isRequired),
    schema.description ?? '',
  );
}

function configuration(schema) {
  const timetable = schema.properties.targets.additionalProperties.properties.bandwidth.anyOf[1];
  const head = [row('key', 'takes', 'default', ''), '|---|---|---|---|'];
  return `${GENERATED}# Configuration

\`--config FILE\`, else \`$OVAFERRY_CONFIG\`, else \`./ovaferry.yaml\`, else \`$XDG_CONFIG_HOME/ovaferry/config.yaml\`.
YAML; an unknown key or a bad value is an error that names the file, the key and what was expected. Paths
begin at the file's own folder. Names have letters, digits, \`_\` and \`-\`.

\`\${NAME}\` is replaced from the environment when a value is used: commands that only enqueue or look read
no secret and miss none. Limits (\`concurrency\`, \`bandwidth\`, \`inFlight\`, \`windows\`, \`lines\`, \`groups\`) and
secrets are read again when the file changes; the rest needs a restart of the workers.

For an editor that knows JSON Schema, [ovaferry.schema.json](ovaferry.schema.json) describes the file:
\`# yaml-language-server: $schema=…/ovaferry.schema.json\` as its first line. It knows names and kinds of
values; that a rate is a rate is checked when the file is read.

## Keys

${[...head, ...keysOf(schema)].join('\n')}

## Timetables

A rate is one for all times, like \`180Mbit/s\` or \`20MB/s\`; a bare \`200M\` is refused. A timetable is a list:

${[...head, ...keysOf(timetable.items, '[]')].join('\n')}

\`\`\`yaml
worker:
  bandwidth:
    - {days: mon-fri, from: "08:00", limit: 20MB/s}
    - {days: mon-fri, from: "19:00", limit: off}
\`\`\`

What holds stays until the next entry, over midnight and the end of the week. A window belongs to the day
on which it opens: the night from Sunday to Monday is \`{days: sun, from: "19:00", to: "06:00"}\`.
`;
}

function commands() {
  const program = createProgram(async () => undefined);
  const help = program.createHelp();
  const own = help.visibleCommands(program).filter((command) => command.name() !== 'help');
  const options = (command) => {
    const rows = help
      .visibleOptions(command)
      .filter(({ long }) => long !== '--help')
      .map((option) => row(`\`${option.flags}\``, help.optionDescription(option)));
    return rows.length === 0 ? '' : `\n| option | |\n|---|---|\n${rows.join('\n')}\n`;
  };
  const sections = own.map((command) => {
    const examples = Object.entries(examplesOf(command))
      .map(([line, what]) => `# ${what}\n${line}`)
      .join('\n');
    const usage = `ovaferry ${command.name()} ${help.commandUsage(command).split(`${command.name()} `).at(-1)}`;
    return `## ${command.name()}

${command.description()}

\`\`\`
${usage}
\`\`\`
${options(command)}
\`\`\`sh
${examples}
\`\`\`
`;
  });
  const list = own.map((command) =>
    row(`[${command.name()}](#${command.name()})`, command.description()),
  );
  return `${GENERATED}# Commands

| command | |
|---|---|
${list.join('\n')}

Before or after each command:
${options(program)}
The [README](../README.md#exit-status) says what the exit status means.

${sections.join('\n')}`;
}

const schema = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' });
const made = {
  'docs/configuration.md': configuration(schema),
  'docs/commands.md': commands(),
  'docs/ovaferry.schema.json': `${JSON.stringify(schema, null, 2)}\n`,
};
let stale = 0;
for (const [name, text] of Object.entries(made)) {
  const path = join(root, name);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (process.argv.includes('--check')) {
    console.error(`docs: ${name} is not what the source says; \`npm run docs\` makes it anew`);
    stale += 1;
  } else {
    writeFileSync(path, text);
    console.log(`docs: ${name} is new`);
  }
}
process.exit(stale === 0 ? 0 : 1);
