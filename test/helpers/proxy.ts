import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** A proxy for tunnels, and what went through it. */
export interface TestProxy {
  readonly url: string;
  /** `CONNECT host:port`, in order. */
  readonly seen: string[];
}

/** Runs with a proxy that wants this user and password, if they are given. */
export async function withProxy<T>(
  use: (proxy: TestProxy) => Promise<T>,
  credentials?: string,
): Promise<T> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  const mayPass = ({ headers }: IncomingMessage): boolean =>
    credentials === undefined ||
    headers['proxy-authorization'] === `Basic ${Buffer.from(credentials).toString('base64')}`;
  const server = createServer();
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (request, client: Socket) => {
    seen.push(`CONNECT ${request.url}`);
    if (!mayPass(request)) return void client.end('HTTP/1.1 407 No\r\n\r\n');
    const [host = '', port = ''] = (request.url ?? '').split(':');
    const target = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      target.pipe(client);
      client.pipe(target);
    });
    sockets.add(target);
    target.on('error', () => client.destroy());
    client.on('error', () => target.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const user = credentials === undefined ? '' : `${credentials}@`;
  try {
    return await use({ url: `http://${user}127.0.0.1:${port}`, seen });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}
