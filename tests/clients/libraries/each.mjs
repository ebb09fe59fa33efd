// Calls the same steps on two servers through one JavaScript library, and compares. What is shared
// by node_redis.mjs and ioredis.mjs; the principle is that of redis_py.py.
//
// A step is a function of the client and of the whole side, `(r, s) => …`. Before each both servers
// hold the same data; what the step gave or threw must be equal, and so must the data afterwards.
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Where tests/peer.sh has put the packages.
export const load = createRequire(join(process.env.RINGSTONE_NODE_PACKAGES, 'index.js'));
const Redis = load('ioredis');

export const ports = process.argv.slice(2, 4).map(Number);
export const FUTURE = 4102444800; // 2100-01-01

// What every step starts from: in database 0, in database 1.
const DATA = {
  k: 'value', n: '41', f: '1.5', bits: '\x0f\x0a', lcs1: 'ohmytext', lcs2: 'mynewtext', other: 'x',
};
const ELSEWHERE = { k: 'of database 1', away: 'y' };

/** What was thrown, as its class and text. Never loosened. */
export class Raised {
  constructor(error) {
    this.text = typeof error === 'string' ? error : `${error?.constructor?.name}: ${error?.message}`;
  }
}

/** What a call gave or threw. */
export async function outcome(call) {
  try {
    return await call();
  } catch (error) {
    return new Raised(error);
  }
}

/** A value as text that is the same for equal values. */
export function shown(value) {
  if (value instanceof Raised) return `Raised(${value.text})`;
  if (value instanceof Error) return shown(new Raised(value));
  if (Buffer.isBuffer(value)) return `Buffer(${value.toString('latin1')})`;
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (value instanceof Set) return `Set{${[...value].map(shown).sort().join(', ')}}`;
  if (value instanceof Map) {
    return `Map{${[...value].map(([k, v]) => `${shown(k)}: ${shown(v)}`).sort().join(', ')}}`;
  }
  if (value instanceof Date) return `Date(${value.getTime()})`;
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).map(([k, v]) => `${k}: ${shown(v)}`);
    return `{${entries.sort().join(', ')}}`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : `${typeof value} ${String(value)}`;
}

/** Only what kind of thing it is. */
export function kind(value) {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : value?.constructor?.name ?? typeof value;
}

/** The names of the fields of an object, a map, or a flat list of pairs. */
export function fields(value) {
  if (value instanceof Map) return [...value.keys()].map(String).sort();
  if (Array.isArray(value)) return value.filter((_, at) => at % 2 === 0).map(String).sort();
  return Object.keys(value).sort();
}

/** The names in the text of INFO or of CLIENT INFO. */
export function names(text) {
  return String(text).split(/[\r\n ]+/).map((word) => word.split(/[:=]/)[0])
    .filter((name) => /^[a-z_0-9-]+$/.test(name) && !name.startsWith('lib-'));
}

/** Everything the peer's reply names, and the part of it that ours names. */
export const allOf = (list) => (got, want) => {
  const has = new Set(list(got));
  return [list(want).filter((name) => has.has(name)), list(want)];
};

/** One server, seen through one library in one protocol. */
class Side {
  constructor(library, port, protocol) {
    Object.assign(this, { library, port, protocol, opened: [] });
    this.plain = new Redis({ port, protocol: 2 });
    this.elsewhere = new Redis({ port, protocol: 2, db: 1 });
  }

  /** A further client. */
  async open(more = {}) {
    const client = await this.library.open(this.port, this.protocol, more);
    this.opened.push(client);
    return client;
  }

  async close() {
    for (const client of this.opened) await this.library.close(client);
    this.plain.disconnect();
    this.elsewhere.disconnect();
  }

  async fill() {
    const all = this.plain.pipeline().flushall().mset(DATA).set('timed', 't', 'EX', 1000);
    await all.pfadd('hll', 'a', 'b', 'c').pfadd('hll2', 'c', 'd')
      .hset('h', 'a', 1, 'b', 'two').hset('one', 'field', 'value')
      .sadd('s', 1, 2, 3).sadd('s2', 2, 3, 4)
      .rpush('l', 'a', 'b', 'c', 'b', 1).rpush('l2', 'x', 'y')
      .zadd('z', 1, 'a', 2.5, 'b', 3, 'c').zadd('z2', 2, 'b', 4, 'd')
      .geoadd('geo', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania')
      .xadd('x', '1-0', 'a', 1).xadd('x', '2-0', 'b', 2).xadd('x', '3-0', 'c', 3)
      .xgroup('CREATE', 'x', 'g', 0)
      .xreadgroup('GROUP', 'g', 'me', 'COUNT', 2, 'STREAMS', 'x', '>').exec();
    await this.elsewhere.mset(ELSEWHERE);
  }

  /** Every key of both databases with its value, and whether it ends. */
  async state() {
    const held = [];
    for (const client of [this.plain, this.elsewhere]) {
      const keys = (await client.keys('*')).sort();
      const [all, types] = [client.pipeline(), []];
      for (const key of keys) {
        const type = await client.type(key);
        types.push(type);
        const reads = { hash: ['hgetallBuffer'], set: ['smembersBuffer'],
          list: ['lrangeBuffer', 0, -1], zset: ['zrangeBuffer', 0, -1, 'WITHSCORES'],
          stream: ['xrangeBuffer', '-', '+'] };
        const [read, ...more] = reads[type] ?? ['getBuffer'];
        all[read](key, ...more).pttl(key);
      }
      const replies = (await all.exec()).map(([, reply]) => reply);
      // The members of a set come in no promised order.
      types.forEach((type, at) => { if (type === 'set') replies[2 * at].sort(Buffer.compare); });
      keys.forEach((key, at) => held.push([key, replies[2 * at], replies[2 * at + 1] > 0]));
      held.push('--');
    }
    return shown(held);
  }
}

function loosened(library, name, label, got, want) {
  if (got instanceof Raised || want instanceof Raised) return [got, want];
  const pair = library.pairs[label] ?? library.pairs[name];
  if (pair) return pair[0](got, want);
  const one = library.loose[label] ?? library.loose[name];
  return one ? [one[0](got), one[0](want)] : [got, want];
}

async function compare(library, protocol, wrong) {
  const [peer, subject] = ports.map((port) => new Side(library, port, protocol));
  for (const side of [peer, subject]) side.r = await side.open();
  let count = 0;
  for (const [name, steps] of Object.entries(library.methods)) {
    for (const [number, step] of steps.entries()) {
      const label = `${name}#${number}`;
      const call = async (side) => {
        await side.fill();
        return outcome(() => step(side.r, side));
      };
      let got = await call(subject);
      let want;
      let after = [];
      const contract = library.contract[label];
      if (contract) {
        [want] = contract;
      } else {
        want = await call(peer);
        after = [await peer.state(), await subject.state()];
      }
      [got, want] = loosened(library, name, label, got, want).map(shown);
      count += 1;
      const where = `${label}, RESP${protocol}`;
      const what = contract ? 'the contract' : 'redis-server';
      if (got !== want) {
        wrong.push(`${where}:\n  ${what}: ${want.slice(0, 1500)}\n  subject: ${got.slice(0, 1500)}`);
      } else if (after[0] !== after[1]) {
        wrong.push(`${where}: the data afterwards:\n  ${after[0]}\n  ${after[1]}`);
      }
    }
  }
  await peer.close();
  await subject.close();
  return count;
}

/** Everything: methods no table accounts for, and all steps in both protocols. */
export async function main(library) {
  const plain = new Redis({ port: ports[1], protocol: 2 });
  const known = new Set((await plain.call('COMMAND', 'LIST')).map((name) => name.toLowerCase()));
  plain.disconnect();
  const wrong = library.forgotten(known);
  let total = 0;
  for (const protocol of [2, 3]) total += await compare(library, protocol, wrong);
  if (wrong.length > 0) {
    console.log(wrong.join('\n'));
    console.log(`${wrong.length} differences in ${total} calls`);
    process.exit(1);
  }
  console.log(`fine ${library.name}: ${total} calls, ${Object.keys(library.methods).length} methods`);
  process.exit(0);
}
