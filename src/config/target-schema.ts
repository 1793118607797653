import { z } from 'zod';
import { bandwidth, name, path, positive, size, transferWindow } from './values.ts';

/** Credentials: exactly one way to log in. */
const SECRETS = [
  ['password', 'passwordFile'],
  ['apiToken', 'apiTokenFile'],
  ['bearerToken', 'bearerTokenFile'],
  ['serviceAccountTokenFile'],
  ['samlAssertionFile'],
] as const;

export const targetSchema = z
  .strictObject({
    type: z
      .enum(['vcd', 'vss'])
      .default('vcd')
      .describe('A vCD; or a VSS content library, which is only listed, by user and password.'),
    url: z.string().describe('`https://…`; `http://` is taken with a warning.'),
    org: z
      .string()
      .min(1)
      .optional()
      .describe('The organisation; `System` for a provider. **Required** of a vCD.'),
    user: z.string().optional().describe('Goes with a password.'),
    password: z
      .string()
      .optional()
      .describe('One of the ways to log in: exactly one is to be given.'),
    passwordFile: path.optional().describe('The same from a file.'),
    apiToken: z.string().optional().describe('Of a user; vCD 10.3.1 and newer.'),
    apiTokenFile: path.optional().describe('The same from a file.'),
    bearerToken: z.string().optional().describe("A session's own token."),
    bearerTokenFile: path
      .optional()
      .describe('The same from a file, which is read anew when the token has run out.'),
    serviceAccountTokenFile: path
      .optional()
      .describe(
        '10.4 and newer. The token changes at each use: file and folder must be writable (mount the folder, not the file); hosts share the file or have an account each.',
      ),
    samlAssertionFile: path.optional().describe('The assertion as XML.'),
    samlKeyFile: path
      .optional()
      .describe('The key (PEM, RSA) of its holder, where the assertion is for one.'),
    tenant: z.string().optional().describe('The organisation that a provider acts for.'),
    catalog: z.string().optional().describe('Where `--to TARGET` uploads to.'),
    concurrency: positive
      .max(64)
      .default(4)
      .describe('Transfers at once to this target, over all workers.'),
    imports: positive
      .max(256)
      .default(8)
      .describe('Imports that are followed besides; more of them hold back what has not begun.'),
    bandwidth: bandwidth.optional().describe('Over all workers.'),
    inFlight: size.optional().describe('Bytes that may be begun and not imported.'),
    group: name.optional().describe('One of `groups`.'),
    windows: z
      .array(transferWindow)
      .min(1)
      .optional()
      .describe('When bytes are sent; always, if absent.'),
    atWindowEnd: z
      .enum(['finish', 'trickle', 'drop'])
      .default('finish')
      .describe('What an upload does that is under way when its window closes.'),
    ca: path.optional().describe('PEM; trusted besides the usual authorities.'),
    certificateSha256: z
      .string()
      .regex(/^([0-9a-fA-F]{2}:?){32}$/, 'expected the 64 hexadecimal digits of a SHA-256')
      .optional()
      .describe('The one certificate that is accepted.'),
    insecure: z.boolean().default(false).describe('No verification; warns at every start.'),
    proxy: z
      .string()
      .optional()
      .describe('By default `HTTPS_PROXY` and `NO_PROXY`; loopback is always reached directly.'),
  })
  .superRefine((value, context) => {
    const given = SECRETS.flat().filter((key) => value[key] !== undefined);
    if (given.length !== 1) {
      const what = given.length === 0 ? 'none' : given.join(' and ');
      context.addIssue({
        code: 'custom',
        message: `expected exactly one of ${SECRETS.flat().join(', ')}, got ${what}`,
      });
    }
    if (value.samlKeyFile !== undefined && value.samlAssertionFile === undefined) {
      const message = 'goes with samlAssertionFile';
      context.addIssue({ code: 'custom', path: ['samlKeyFile'], message });
    }
    assertType(value, context);
    const { org = '' } = value;
    const isProvider = org.toLowerCase() === 'system' || org.includes('${');
    if (value.tenant !== undefined && !isProvider) {
      const message = 'only a provider, whose org is System, acts for a tenant';
      context.addIssue({ code: 'custom', path: ['tenant'], message });
    }
    if ((value.password ?? value.passwordFile) !== undefined && value.user === undefined) {
      context.addIssue({ code: 'custom', path: ['user'], message: 'is needed beside a password' });
    }
    // One that is made of the environment can only be judged when it is used.
    if (!value.url.includes('${') && !/^https?:\/\/[^/]/.test(value.url)) {
      context.addIssue({
        code: 'custom',
        path: ['url'],
        message: 'expected an address like https://vcd.example.com',
      });
    }
  });

/** What a content library knows of these. */
const OF_LIBRARIES: ReadonlySet<string> = new Set([
  ...['type', 'url', 'user', 'password', 'passwordFile'],
  ...['ca', 'certificateSha256', 'insecure', 'proxy'],
]);
/** They have a value whether one is given or not. */
const DEFAULTED: ReadonlySet<string> = new Set(['concurrency', 'imports', 'atWindowEnd']);

function assertType(
  value: { readonly type: 'vcd' | 'vss'; readonly org?: string | undefined },
  context: z.RefinementCtx,
): void {
  if (value.type === 'vcd') {
    if (value.org !== undefined) return;
    context.addIssue({ code: 'custom', path: ['org'], message: 'is needed: which organisation?' });
    return;
  }
  for (const [key, given] of Object.entries(value)) {
    if (given === undefined || OF_LIBRARIES.has(key) || DEFAULTED.has(key)) continue;
    context.addIssue({ code: 'custom', path: [key], message: 'is nothing that a vss target has' });
  }
}
