import { createServer } from 'node:net';

const free = (port: number) =>
  new Promise<boolean>((answer) => {
    const server = createServer();
    server.once('error', () => answer(false));
    server.listen(port, '127.0.0.1', () => server.close(() => answer(true)));
  });

/** A base port with room for three nodes (ten ports each) on loopback. */
export async function freeBasePort(): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    // Below the range that the kernel hands out for outgoing connections.
    const base = 20_000 + 30 * Math.floor(Math.random() * 400);
    const ports = Array.from({ length: 30 }, (_, k) => base + k);
    if ((await Promise.all(ports.map(free))).every(Boolean)) return base;
  }
  throw new Error('no 30 free ports in a row between 20000 and 32000');
}
