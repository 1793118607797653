import type { Config } from './config/load.ts';
import { FerryError } from './errors.ts';
import { LibraryClient } from './vss/client.ts';

/** A client of a content library, a target of `type: vss`. @throws FerryError TARGET_UNKNOWN, CREDENTIALS_MISSING */
export async function createLibraryClient(config: Config, name: string): Promise<LibraryClient> {
  const target = config.libraries.get(name);
  if (!target) throw new FerryError('TARGET_UNKNOWN', `there is no content library ${name}`);
  const { url, ca, certificateSha256, insecure, proxy } = await target.resolve();
  return new LibraryClient({
    url,
    async login() {
      const { credentials } = await target.resolve();
      if (credentials.kind === 'password') return credentials;
      throw new FerryError('CONFIG_INVALID', `${name} is a content library: it takes a password`);
    },
    trust: {
      insecure,
      ...(ca === undefined ? {} : { ca }),
      ...(certificateSha256 === undefined ? {} : { certificateSha256 }),
      ...(proxy === undefined ? {} : { proxy }),
    },
  });
}
