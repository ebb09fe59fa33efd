// redis-memory-server as JavaScript suites use it: it starts RINGSTONE_TEST_PROGRAM in
// redis-server's place, waits for the line that says it is ready, and stops it by a signal.
import assert from 'node:assert';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const load = createRequire(join(process.env.RINGSTONE_NODE_PACKAGES, 'index.js'));
const { RedisMemoryServer } = load('redis-memory-server');
const Redis = load('ioredis');

const systemBinary = process.env.RINGSTONE_TEST_PROGRAM;
const servers = [
  new RedisMemoryServer({ binary: { systemBinary } }),
  new RedisMemoryServer({
    binary: { systemBinary },
    instance: { ip: '127.0.0.1', args: ['--requirepass', 'secret', '--save', '', '--loglevel', 'verbose'] },
  }),
];
for (const [number, server] of servers.entries()) {
  const [host, port] = [await server.getHost(), await server.getPort()];
  const client = new Redis({ host, port, password: number === 1 ? 'secret' : undefined });
  assert.strictEqual(await client.set('key', 'value'), 'OK');
  assert.strictEqual(await client.get('key'), 'value');
  assert.deepStrictEqual(await client.config('get', 'port'), ['port', String(port)]);
  client.disconnect();
  assert.strictEqual(await server.stop(), true);
  const gone = new Redis({ host, port, retryStrategy: null, lazyConnect: true });
  gone.on('error', () => {});
  await assert.rejects(gone.connect());
}
console.log('fine redis-memory-server');
