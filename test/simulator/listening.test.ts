import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { expect, test } from '@jest/globals';
import { startSimulator } from '../../src/simulator/server.ts';

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 });
    const end = (connected: boolean) => () => {
      socket.destroy();
      resolve(connected);
    };
    socket.once('connect', end(true));
    socket.once('error', end(false));
    socket.once('timeout', end(false));
  });
}

test('the simulator listens on loopback alone', async () => {
  const simulator = await startSimulator();
  try {
    const port = Number(new URL(simulator.url).port);
    expect(await canConnect('127.0.0.1', port)).toBe(true);
    const outside = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal, family }) => !internal && family === 'IPv4');
    for (const { address } of outside) expect(await canConnect(address, port)).toBe(false);
  } finally {
    await simulator.close();
  }
});
