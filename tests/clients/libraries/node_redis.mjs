// Every method of node-redis whose command the server has, called on two servers and compared.
//
// Usage: RINGSTONE_NODE_PACKAGES=DIR node node_redis.mjs PORT_OF_REDIS_SERVER PORT_OF_THE_SUBJECT
//
// The methods are those of the library's own table of commands, by their upper-case names; the
// camel-case ones are the same functions. One whose command the server has and that is not in
// `methods` is a failure, and so is a method of the client itself that neither `methods` nor `own`
// names.
import {
  FUTURE, Raised, allOf, fields, kind, load, main, names, outcome, ports,
} from './each.mjs';

const { createClient, createClientPool, RESP_TYPES } = load('redis');
const commands = load('@redis/client/dist/lib/commands').default;
const { version } = load('redis/package.json');

// Of the string abc.
const PAYLOAD = Buffer.from('00036162630a00d9ac303d4172a2e2', 'hex');

async function open(port, protocol, more = {}) {
  const { socket, ...rest } = more;
  const options = { socket: { port, reconnectStrategy: 0, ...socket }, RESP: protocol, ...rest };
  const client = createClient(options);
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function authenticated(r, s) {
  const given = [await outcome(() => r.AUTH({ password: 'secret' })),
    await outcome(() => r.AUTH({ username: 'nobody', password: 'secret' }))];
  const fails = { disableClientInfo: true, socket: { reconnectStrategy: false } };
  await r.CONFIG_SET('requirepass', 'secret');
  try {
    for (const password of [undefined, 'wrong', 'secret']) {
      const told = await outcome(async () => (await s.open({ ...fails, password })).PING());
      given.push(told);
    }
    given.push(await r.AUTH({ username: 'default', password: 'secret' }));
    given.push(await outcome(() => r.AUTH({ password: 'wrong' })));
  } finally {
    await r.CONFIG_SET('requirepass', '');
  }
  // 7.2 added a word to this text.
  return given.map((v) => (v?.text ?? v).replace('HELLO <proto> AUTH', 'HELLO AUTH'));
}

async function killed(r, s) {
  const given = [];
  for (const filter of ['ADDRESS', 'ID', 'TYPE', 'USER', 'LOCAL_ADDRESS']) {
    const other = await s.open();
    const line = await other.CLIENT_INFO();
    const back = new Promise((resolve) => { other.once('ready', resolve); });
    const told = await outcome(() => r.CLIENT_KILL({
      ADDRESS: { filter: 'ADDR', address: line.addr }, ID: { filter: 'ID', id: line.id },
      TYPE: [{ filter: 'ID', id: line.id }, { filter: 'TYPE', type: 'NORMAL' }],
      USER: { filter: 'USER', username: 'nobody' },
      LOCAL_ADDRESS: { filter: 'LADDR', localAddress: '127.0.0.9:1' },
    }[filter]));
    // It connects again by itself.
    if (told === 1) await back;
    given.push(told, await outcome(() => other.GET('k')));
    await other.destroy();
  }
  given.push(await outcome(() => r.CLIENT_KILL({ filter: 'ADDRESS', address: '1.2.3.4:5' })));
  return given;
}

async function paused(r, s) {
  const other = await s.open();
  const given = [await r.CLIENT_PAUSE(60000, 'WRITE'), await r.GET('k')];
  const late = other.SET('k', 'late');
  given.push(await r.GET('k'), await r.CLIENT_UNPAUSE(), await late, await r.GET('k'));
  return given;
}

async function unblocked(r, s) {
  const given = [];
  for (const mode of ['TIMEOUT', 'ERROR']) {
    const other = await s.open();
    const id = await other.CLIENT_ID();
    const waits = outcome(() => other.WAIT(1, 5000));
    let woken = 0;
    for (let turn = 0; turn < 1000 && !woken; turn += 1) woken = await r.CLIENT_UNBLOCK(id, mode);
    given.push(woken, await waits);
  }
  return [...given, await r.CLIENT_UNBLOCK(1 << 30)];
}

async function monitored(r, s) {
  const listener = await s.open();
  const seen = [];
  let enough;
  const all = new Promise((resolve) => { enough = resolve; });
  await listener.monitor((line) => {
    seen.push(String(line).replace(/^[0-9.]+ \[(\d+) [0-9.]+:\d+\]/, '[$1]'));
    if (seen.at(-1).includes('"SET"')) enough();
  });
  const other = await s.open({ database: 1, disableClientInfo: true });
  await other.SET('a', 'with "quotes" and \\');
  await all;
  return seen.filter((line) => !/HELLO|CLIENT/i.test(line));
}

async function transactions(r, s) {
  const given = [await r.multi().SET('a', 1).INCR('a').GET('a').MGET(['a', 'none']).TYPE('hll')
    .EXPIRE('a', 100).exec()];
  given.push(await outcome(() => r.multi().SET('a', 1).INCR('k').GET('a').exec()));
  given.push(await outcome(() => r.multi().addCommand(['SET', 'a']).exec()));
  given.push(await r.multi().SET('b', 1).GET('b').execAsPipeline());
  const other = await s.open();
  await r.WATCH(['a', 'k']);
  await other.SET('k', 'changed');
  given.push(await outcome(() => r.multi().SET('k', 'lost').exec()), await r.GET('k'));
  await r.WATCH('k');
  await r.UNWATCH();
  await other.SET('k', 'again');
  given.push(await r.multi().APPEND('k', '!').exec());
  // What errors there were is in the message's list.
  return given.map((v) => (v?.replies ? v.replies : v));
}

async function pipelined(r) {
  const sent = [];
  for (let i = 0; i < 300; i += 1) sent.push(r.SET(`p:${i}`, i));
  await Promise.all(sent);
  return Promise.all(Array.from({ length: 300 }, (_, i) => r.GET(`p:${i}`)));
}

async function scanned(r) {
  await r.MSET(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, `${i}`])));
  const given = [];
  for (const how of [{}, { MATCH: 'scan:1*' }, { COUNT: 7 }, { TYPE: 'string', MATCH: '*9' },
    { TYPE: 'hash' }]) {
    const found = [];
    for await (const keys of r.scanIterator(how)) found.push(...keys);
    given.push(found.sort());
  }
  return given;
}

async function pooled(r, s) {
  const socket = { port: s.port };
  const pool = createClientPool({ socket, RESP: s.protocol }, { minimum: 1, maximum: 3 });
  pool.on('error', () => {});
  await pool.connect();
  const given = await Promise.all(Array.from({ length: 20 }, () => pool.INCR('n')));
  // They went through several connections.
  given.sort();
  given.push(await pool.execute(async (client) => {
    await client.WATCH('n');
    return client.multi().GET('n').exec();
  }));
  await pool.destroy();
  return given;
}

// Waits for the end of a snapshot; how it ended.
async function saved(r) {
  for (;;) {
    const info = await r.INFO('persistence');
    if (info.includes('rdb_bgsave_in_progress:0')) return info.match(/rdb_last_bgsave_status:\w+/)[0];
  }
}

// Waits for the end of a rewrite; how it ended.
async function rewritten(r) {
  for (;;) {
    const info = await r.INFO('persistence');
    if (info.includes('aof_rewrite_in_progress:0')) return info.match(/aof_last_bgrewrite_status:\w+/)[0];
  }
}

async function configured(r) {
  const given = [];
  for (const [name, value] of [['maxclients', '9000'], ['timeout', '100'], ['hz', '20'],
    ['maxmemory', '1gb'], ['client-output-buffer-limit', 'pubsub 32mb 8mb 60']]) {
    const before = await r.CONFIG_GET(name);
    given.push(await r.CONFIG_SET(name, value), await r.CONFIG_GET(name));
    await r.CONFIG_SET({ [name]: before[name] });
  }
  given.push(await outcome(() => r.CONFIG_SET('nosuch', '1')));
  given.push(await outcome(() => r.CONFIG_SET({ timeout: 'x', hz: '10' })));
  return given;
}

const node = '0123456789012345678901234567890123456789';
const far = new Date(FUTURE * 1000);

const methods = {
  ACL_CAT: [(r) => r.ACL_CAT(), (r) => r.ACL_CAT('hyperloglog'), (r) => r.ACL_CAT('nosuch')],
  ACL_GETUSER: [(r) => r.ACL_GETUSER('default'), (r) => r.ACL_GETUSER('nobody')],
  ACL_LIST: [(r) => r.ACL_LIST()],
  ACL_USERS: [(r) => r.ACL_USERS()],
  ACL_WHOAMI: [(r) => r.ACL_WHOAMI()],
  APPEND: [(r) => r.APPEND('k', '!'), (r) => r.APPEND('new', Buffer.from([0, 255]))],
  ASKING: [(r) => r.ASKING()],
  AUTH: [authenticated],
  BITCOUNT: [(r) => r.BITCOUNT('bits'), (r) => r.BITCOUNT('bits', { start: 0, end: 0 }),
    (r) => r.BITCOUNT('bits', { start: 5, end: 9, mode: 'BIT' })],
  BITFIELD_RO: [(r) => r.BITFIELD_RO('bits', [{ encoding: 'u8', offset: 0 },
    { encoding: 'i5', offset: '#1' }])],
  BITFIELD: [(r) => r.BITFIELD('bits', [{ operation: 'SET', encoding: 'u8', offset: 0, value: 7 },
    { operation: 'OVERFLOW', behavior: 'FAIL' },
    { operation: 'INCRBY', encoding: 'u8', offset: 0, increment: 250 },
    { operation: 'GET', encoding: 'i4', offset: '#1' }])],
  BITOP: [(r) => r.BITOP('AND', 'd', ['bits', 'k']), (r) => r.BITOP('NOT', 'd', 'bits'),
    (r) => r.BITOP('NOT', 'd', ['k', 'n'])],
  BITPOS: [(r) => r.BITPOS('bits', 1), (r) => r.BITPOS('bits', 0, 1),
    (r) => r.BITPOS('bits', 1, 2, 20, 'BIT')],
  CLIENT_GETNAME: [async (r, s) => (await s.open({ name: 'a-name' })).CLIENT_GETNAME(),
    (r) => r.CLIENT_GETNAME()],
  CLIENT_GETREDIR: [(r) => r.CLIENT_GETREDIR()],
  CLIENT_ID: [(r) => r.CLIENT_ID()],
  CLIENT_INFO: [(r) => r.CLIENT_INFO()],
  CLIENT_KILL: [killed],
  CLIENT_LIST: [(r) => r.CLIENT_LIST(), (r) => r.CLIENT_LIST({ TYPE: 'REPLICA' }),
    async (r) => r.CLIENT_LIST({ ID: [await r.CLIENT_ID()] })],
  'CLIENT_NO-EVICT': [(r) => r['CLIENT_NO-EVICT'](true), (r) => r['CLIENT_NO-EVICT'](false)],
  'CLIENT_NO-TOUCH': [(r) => r['CLIENT_NO-TOUCH'](true), (r) => r['CLIENT_NO-TOUCH'](false)],
  CLIENT_PAUSE: [paused, (r) => r.CLIENT_PAUSE(1)],
  CLIENT_SETNAME: [(r) => r.CLIENT_SETNAME('name'), (r) => r.CLIENT_SETNAME('a b'),
    (r) => r.CLIENT_SETNAME('')],
  CLIENT_TRACKINGINFO: [(r) => r.CLIENT_TRACKINGINFO()],
  CLIENT_UNBLOCK: [unblocked],
  CLIENT_UNPAUSE: [(r) => r.CLIENT_UNPAUSE()],
  CLUSTER_ADDSLOTS: [(r) => r.CLUSTER_ADDSLOTS([1, 2])],
  CLUSTER_ADDSLOTSRANGE: [(r) => r.CLUSTER_ADDSLOTSRANGE({ start: 1, end: 2 })],
  CLUSTER_BUMPEPOCH: [(r) => r.CLUSTER_BUMPEPOCH()],
  'CLUSTER_COUNT-FAILURE-REPORTS': [(r) => r['CLUSTER_COUNT-FAILURE-REPORTS'](node)],
  CLUSTER_COUNTKEYSINSLOT: [(r) => r.CLUSTER_COUNTKEYSINSLOT(1)],
  CLUSTER_DELSLOTS: [(r) => r.CLUSTER_DELSLOTS(1)],
  CLUSTER_DELSLOTSRANGE: [(r) => r.CLUSTER_DELSLOTSRANGE({ start: 1, end: 2 })],
  CLUSTER_FAILOVER: [(r) => r.CLUSTER_FAILOVER()],
  CLUSTER_FLUSHSLOTS: [(r) => r.CLUSTER_FLUSHSLOTS()],
  CLUSTER_FORGET: [(r) => r.CLUSTER_FORGET(node)],
  CLUSTER_GETKEYSINSLOT: [(r) => r.CLUSTER_GETKEYSINSLOT(1, 2)],
  CLUSTER_INFO: [(r) => r.CLUSTER_INFO()],
  CLUSTER_KEYSLOT: [(r) => r.CLUSTER_KEYSLOT('foo{bar}')],
  CLUSTER_LINKS: [(r) => r.CLUSTER_LINKS()],
  CLUSTER_MEET: [(r) => r.CLUSTER_MEET('127.0.0.1', 1)],
  CLUSTER_MYID: [(r) => r.CLUSTER_MYID()],
  CLUSTER_MYSHARDID: [(r) => r.CLUSTER_MYSHARDID()],
  CLUSTER_NODES: [(r) => r.CLUSTER_NODES()],
  CLUSTER_REPLICAS: [(r) => r.CLUSTER_REPLICAS(node)],
  CLUSTER_REPLICATE: [(r) => r.CLUSTER_REPLICATE(node)],
  CLUSTER_RESET: [(r) => r.CLUSTER_RESET()],
  CLUSTER_SAVECONFIG: [(r) => r.CLUSTER_SAVECONFIG()],
  'CLUSTER_SET-CONFIG-EPOCH': [(r) => r['CLUSTER_SET-CONFIG-EPOCH'](1)],
  CLUSTER_SETSLOT: [(r) => r.CLUSTER_SETSLOT(1, 'STABLE')],
  CLUSTER_SLOTS: [(r) => r.CLUSTER_SLOTS()],
  COMMAND_COUNT: [(r) => r.COMMAND_COUNT()],
  COMMAND_GETKEYS: [(r) => r.COMMAND_GETKEYS(['MSET', 'a', '1', 'b', '2']),
    (r) => r.COMMAND_GETKEYS(['PING', 'x'])],
  COMMAND_GETKEYSANDFLAGS: [(r) => r.COMMAND_GETKEYSANDFLAGS(['COPY', 'a', 'b'])],
  COMMAND_DOCS: [(r) => r.COMMAND_DOCS('append')],
  COMMAND_INFO: [(r) => r.COMMAND_INFO(['get', 'mset', 'nosuch', 'object|freq'])],
  COMMAND_LIST: [(r) => r.COMMAND_LIST({ FILTERBY: { type: 'PATTERN', value: 'get*' } }),
    (r) => r.COMMAND_LIST({ FILTERBY: { type: 'ACLCAT', value: 'bitmap' } })],
  COMMAND: [(r) => r.COMMAND()],
  CONFIG_GET: [(r) => r.CONFIG_GET('max*'), (r) => r.CONFIG_GET(['hz', 'timeout']),
    (r) => r.CONFIG_GET('nosuch')],
  CONFIG_RESETASTAT: [(r) => r.CONFIG_RESETASTAT()],
  CONFIG_REWRITE: [(r) => r.CONFIG_REWRITE()],
  CONFIG_SET: [configured],
  COPY: [(r) => r.COPY('k', 'd'), (r) => r.COPY('k', 'n', { REPLACE: true }),
    (r) => r.COPY('n', 'd', { DB: 1 }), (r) => r.COPY('k', 'n')],
  DBSIZE: [(r) => r.DBSIZE()],
  DECR: [(r) => r.DECR('n'), (r) => r.DECR('k')],
  DECRBY: [(r) => r.DECRBY('n', 40)],
  DEL: [(r) => r.DEL('k'), (r) => r.DEL(['k', 'n', 'none', 'k'])],
  DUMP: [(r) => r.DUMP('n'), (r) => r.DUMP('none')],
  ECHO: [(r) => r.ECHO('what')],
  EXISTS: [(r) => r.EXISTS('k'), (r) => r.EXISTS(['k', 'k', 'none'])],
  EXPIRE: [(r) => r.EXPIRE('k', 100), (r) => r.EXPIRE('timed', 5, 'GT'), (r) => r.EXPIRE('k', -1)],
  EXPIREAT: [(r) => r.EXPIREAT('k', FUTURE), (r) => r.EXPIREAT('timed', far, 'NX')],
  EXPIRETIME: [async (r) => [await r.EXPIREAT('k', far), await r.EXPIRETIME('k')],
    (r) => r.EXPIRETIME('none')],
  FLUSHALL: [(r) => r.FLUSHALL(), (r) => r.FLUSHALL('ASYNC')],
  FLUSHDB: [(r) => r.FLUSHDB(), (r) => r.FLUSHDB('SYNC')],
  GET: [(r) => r.GET('k'), (r) => r.GET('none'),
    (r) => r.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).GET('k')],
  GETBIT: [(r) => r.GETBIT('bits', 4), (r) => r.GETBIT('bits', -1)],
  GETDEL: [(r) => r.GETDEL('k'), (r) => r.GETDEL('none')],
  GETEX: [(r) => r.GETEX('k', { type: 'EX', value: 100 }), (r) => r.GETEX('k', { EXAT: far }),
    (r) => r.GETEX('timed', { type: 'PERSIST' }), (r) => r.GETEX('none', { PX: 10 })],
  GETRANGE: [(r) => r.GETRANGE('k', 1, 3), (r) => r.GETRANGE('k', -3, -1)],
  GETSET: [(r) => r.GETSET('k', 'new'), (r) => r.GETSET('new', '1')],
  HELLO: [async (r, s) => {
    const told = await r.HELLO(s.protocol, { SETNAME: 'told' });
    return [told, await r.CLIENT_GETNAME(), await outcome(() => r.HELLO(9))];
  }],
  INCR: [(r) => r.INCR('n'), (r) => r.INCR('k')],
  INCRBY: [(r) => r.INCRBY('n', 5)],
  INCRBYFLOAT: [(r) => r.INCRBYFLOAT('f', 0.1), (r) => r.INCRBYFLOAT('k', 1)],
  INFO: [(r) => r.INFO(), (r) => r.INFO('server'), (r) => r.INFO('everything')],
  KEYS: [(r) => r.KEYS('*'), (r) => r.KEYS('lcs?')],
  LATENCY_DOCTOR: [(r) => r.LATENCY_DOCTOR()],
  LATENCY_GRAPH: [(r) => r.LATENCY_GRAPH('command')],
  LATENCY_HISTORY: [(r) => r.LATENCY_HISTORY('command')],
  LATENCY_HISTOGRAM: [(r) => r.LATENCY_HISTOGRAM(), (r) => r.LATENCY_HISTOGRAM('set', 'get')],
  LATENCY_LATEST: [(r) => r.LATENCY_LATEST()],
  LATENCY_RESET: [(r) => r.LATENCY_RESET(), (r) => r.LATENCY_RESET('command')],
  LCS_IDX_WITHMATCHLEN: [(r) => r.LCS_IDX_WITHMATCHLEN('lcs1', 'lcs2', { MINMATCHLEN: 4 })],
  LCS_IDX: [(r) => r.LCS_IDX('lcs1', 'lcs2')],
  LCS_LEN: [(r) => r.LCS_LEN('lcs1', 'lcs2')],
  LCS: [(r) => r.LCS('lcs1', 'lcs2'), (r) => r.LCS('none', 'lcs2')],
  LASTSAVE: [(r) => r.LASTSAVE()],
  BGREWRITEAOF: [async (r) => [await r.BGREWRITEAOF(), await rewritten(r)]],
  BGSAVE: [async (r) => [await r.BGSAVE({ SCHEDULE: true }), await saved(r)]],
  LOLWUT: [(r) => r.LOLWUT(), (r) => r.LOLWUT(5, 20, 2, 2)],
  MEMORY_DOCTOR: [(r) => r.MEMORY_DOCTOR()],
  'MEMORY_MALLOC-STATS': [(r) => r['MEMORY_MALLOC-STATS']()],
  MEMORY_PURGE: [(r) => r.MEMORY_PURGE()],
  MEMORY_STATS: [(r) => r.MEMORY_STATS()],
  MEMORY_USAGE: [(r) => r.MEMORY_USAGE('k'), (r) => r.MEMORY_USAGE('none', { SAMPLES: 3 })],
  MGET: [(r) => r.MGET(['k', 'none', 'n'])],
  MODULE_LIST: [(r) => r.MODULE_LIST()],
  MOVE: [(r) => r.MOVE('n', 1), (r) => r.MOVE('k', 1)],
  MSET: [(r) => r.MSET({ a: '1', b: '2' }), (r) => r.MSET([['a', '1'], ['k', '2']])],
  MSETNX: [(r) => r.MSETNX({ a: '1', b: '2' }), (r) => r.MSETNX({ a: '1', k: '2' })],
  OBJECT_ENCODING: [(r) => r.OBJECT_ENCODING('n'), (r) => r.OBJECT_ENCODING('hll'),
    (r) => r.OBJECT_ENCODING('none')],
  OBJECT_FREQ: [(r) => r.OBJECT_FREQ('k')],
  OBJECT_IDLETIME: [(r) => r.OBJECT_IDLETIME('k')],
  OBJECT_REFCOUNT: [(r) => r.OBJECT_REFCOUNT('k')],
  PERSIST: [(r) => r.PERSIST('timed'), (r) => r.PERSIST('k')],
  PEXPIRE: [(r) => r.PEXPIRE('k', 100000), (r) => r.PEXPIRE('timed', 5, 'GT')],
  PEXPIREAT: [(r) => r.PEXPIREAT('k', far), (r) => r.PEXPIREAT('k', 5)],
  PEXPIRETIME: [async (r) => [await r.PEXPIREAT('k', far), await r.PEXPIRETIME('k')]],
  HDEL: [(r) => r.HDEL('h', ['a', 'none']), (r) => r.HDEL('k', 'a')],
  HEXISTS: [(r) => r.HEXISTS('h', 'a'), (r) => r.HEXISTS('none', 'a')],
  HGET: [(r) => r.HGET('h', 'a'), (r) => r.HGET('h', 'none'), (r) => r.HGET('k', 'a')],
  DELEX: [
    (r) => r.DELEX('k', { condition: 'IFEQ', matchValue: 'value' }),
    (r) => r.DELEX('k', { condition: 'IFNE', matchValue: 'value' }),
    (r) => r.DELEX('h'),
  ],
  DIGEST: [(r) => r.DIGEST('k'), (r) => r.DIGEST('none')],
  HEXPIRE: [(r) => r.HEXPIRE('h', ['a', 'none'], 100), (r) => r.HEXPIRE('h', 'a', 0)],
  HEXPIREAT: [(r) => r.HEXPIREAT('h', 'a', FUTURE, 'GT')],
  HEXPIRETIME: [(r) => r.HEXPIRETIME('h', ['a', 'none'])],
  HGETDEL: [(r) => r.HGETDEL('h', ['a', 'none'])],
  HGETEX: [
    (r) => r.HGETEX('h', ['a', 'none'], { expiration: { type: 'EX', value: 100 } }),
    (r) => r.HGETEX('h', 'b', { expiration: 'PERSIST' }),
  ],
  HPERSIST: [(r) => r.HPERSIST('h', ['a', 'none'])],
  HPEXPIRE: [(r) => r.HPEXPIRE('h', 'a', 100000, 'NX')],
  HPEXPIREAT: [(r) => r.HPEXPIREAT('h', ['a', 'b'], FUTURE * 1000)],
  HPEXPIRETIME: [(r) => r.HPEXPIRETIME('h', ['a', 'none'])],
  HPTTL: [(r) => r.HPTTL('h', ['a', 'none'])],
  HSETEX: [
    (r) => r.HSETEX('h', { a: '5' }, { expiration: { type: 'EX', value: 100 } }),
    (r) => r.HSETEX('h', { a: '5' }, { mode: 'FNX' }),
  ],
  HTTL: [(r) => r.HTTL('h', ['a', 'none'])],
  MSETEX: [(r) => r.MSETEX({ a: '1', k: '2' }, { expiration: { type: 'EX', value: 100 } })],
  HGETALL: [(r) => r.HGETALL('h'), (r) => r.HGETALL('none')],
  HINCRBY: [(r) => r.HINCRBY('h', 'a', 5), (r) => r.HINCRBY('h', 'b', 1)],
  HINCRBYFLOAT: [(r) => r.HINCRBYFLOAT('h', 'a', 0.5), (r) => r.HINCRBYFLOAT('h', 'b', 1)],
  HKEYS: [(r) => r.HKEYS('h'), (r) => r.HKEYS('none')],
  HLEN: [(r) => r.HLEN('h'), (r) => r.HLEN('none')],
  HMGET: [(r) => r.HMGET('h', ['a', 'none']), (r) => r.HMGET('none', 'a')],
  HRANDFIELD: [(r) => r.HRANDFIELD('one'), (r) => r.HRANDFIELD('none')],
  HRANDFIELD_COUNT: [(r) => r.HRANDFIELD_COUNT('one', 3), (r) => r.HRANDFIELD_COUNT('one', -2)],
  HRANDFIELD_COUNT_WITHVALUES: [(r) => r.HRANDFIELD_COUNT_WITHVALUES('one', 3)],
  HSCAN: [(r) => r.HSCAN('h', '0'), (r) => r.HSCAN('h', '0', { MATCH: 'a*', COUNT: 100 })],
  HSCAN_NOVALUES: [(r) => r.HSCAN_NOVALUES('one', '0')],
  HSET: [(r) => r.HSET('h', 'a', '3'), (r) => r.HSET('h', { a: '3', c: 'd' }),
    (r) => r.HSET('k', 'a', '1')],
  HSETNX: [(r) => r.HSETNX('h', 'a', '3'), (r) => r.HSETNX('h', 'c', '3')],
  HSTRLEN: [(r) => r.HSTRLEN('h', 'b'), (r) => r.HSTRLEN('h', 'none')],
  HVALS: [(r) => r.HVALS('h'), (r) => r.HVALS('none')],
  SADD: [(r) => r.SADD('s', ['3', '4', 'x']), (r) => r.SADD('k', 'a')],
  SCARD: [(r) => r.SCARD('s'), (r) => r.SCARD('none')],
  SDIFF: [(r) => r.SDIFF(['s', 's2']), (r) => r.SDIFF('none')],
  SDIFFSTORE: [(r) => r.SDIFFSTORE('d', ['s', 's2']), (r) => r.SDIFFSTORE('d', ['s', 's'])],
  SINTER: [(r) => r.SINTER(['s', 's2']), (r) => r.SINTER(['s', 'k'])],
  SINTERSTORE: [(r) => r.SINTERSTORE('d', ['s', 's2'])],
  SISMEMBER: [(r) => r.SISMEMBER('s', '1'), (r) => r.SISMEMBER('s', '9')],
  SMEMBERS: [(r) => r.SMEMBERS('s'), (r) => r.SMEMBERS('none')],
  SMISMEMBER: [(r) => r.SMISMEMBER('s', ['1', '9'])],
  SMOVE: [(r) => r.SMOVE('s', 's2', '1'), (r) => r.SMOVE('s', 's2', '9')],
  SPOP: [(r) => r.SPOP('none')],
  SPOP_COUNT: [(r) => r.SPOP_COUNT('s', 100)],
  SRANDMEMBER: [(r) => r.SRANDMEMBER('none')],
  SRANDMEMBER_COUNT: [(r) => r.SRANDMEMBER_COUNT('s', 100)],
  SREM: [(r) => r.SREM('s', ['1', '9']), (r) => r.SREM('s', ['1', '2', '3'])],
  SSCAN: [(r) => r.SSCAN('s', '0'), (r) => r.SSCAN('s', '0', { MATCH: '1*', COUNT: 100 })],
  SUNION: [(r) => r.SUNION(['s', 's2']), (r) => r.SUNION('none')],
  SUNIONSTORE: [(r) => r.SUNIONSTORE('d', ['s', 's2'])],
  SINTERCARD: [(r) => r.SINTERCARD(['s', 's2']), (r) => r.SINTERCARD(['s', 's2'], 1)],
  ZADD: [(r) => r.ZADD('z', { score: 4, value: 'a' }), (r) => r.ZADD('k', { score: 4, value: 'a' }),
    (r) => r.ZADD('z', [{ score: 4, value: 'a' }, { score: 0.5, value: 'd' }], { CH: true })],
  ZADD_INCR: [(r) => r.ZADD_INCR('z', { score: 4, value: 'a' })],
  ZCARD: [(r) => r.ZCARD('z'), (r) => r.ZCARD('none')],
  ZCOUNT: [(r) => r.ZCOUNT('z', '(1', '+inf')],
  ZDIFF: [(r) => r.ZDIFF(['z', 'z2'])],
  ZDIFF_WITHSCORES: [(r) => r.ZDIFF_WITHSCORES(['z', 'z2'])],
  ZDIFFSTORE: [(r) => r.ZDIFFSTORE('d', ['z', 'z2'])],
  ZINCRBY: [(r) => r.ZINCRBY('z', 1.5, 'a'), (r) => r.ZINCRBY('new', 1, 'a')],
  ZINTER: [(r) => r.ZINTER(['z', 'z2']), (r) => r.ZINTER('none')],
  ZINTER_WITHSCORES: [(r) => r.ZINTER_WITHSCORES(['z', 'z2'], { AGGREGATE: 'MAX' })],
  ZINTERCARD: [(r) => r.ZINTERCARD(['z', 'z2']), (r) => r.ZINTERCARD(['z', 'z2'], 1)],
  ZINTERSTORE: [(r) => r.ZINTERSTORE('d', ['z', 'z2'])],
  ZLEXCOUNT: [(r) => r.ZLEXCOUNT('z', '-', '+')],
  ZMPOP: [(r) => r.ZMPOP(['none', 'z'], 'MIN'), (r) => r.ZMPOP('z', 'MAX', { COUNT: 2 }),
    (r) => r.ZMPOP('none', 'MIN')],
  ZMSCORE: [(r) => r.ZMSCORE('z', ['a', 'none'])],
  ZPOPMAX: [(r) => r.ZPOPMAX('z'), (r) => r.ZPOPMAX('none')],
  ZPOPMAX_COUNT: [(r) => r.ZPOPMAX_COUNT('z', 2)],
  ZPOPMIN: [(r) => r.ZPOPMIN('z'), (r) => r.ZPOPMIN('none')],
  ZPOPMIN_COUNT: [(r) => r.ZPOPMIN_COUNT('z', 2)],
  ZRANDMEMBER: [(r) => r.ZRANDMEMBER('none')],
  ZRANDMEMBER_COUNT: [(r) => r.ZRANDMEMBER_COUNT('none', 2)],
  ZRANDMEMBER_COUNT_WITHSCORES: [(r) => r.ZRANDMEMBER_COUNT_WITHSCORES('none', 2)],
  ZRANGE: [(r) => r.ZRANGE('z', 0, -1), (r) => r.ZRANGE('z', 0, -1, { REV: true }),
    (r) => r.ZRANGE('z', 1, 3, { BY: 'SCORE', LIMIT: { offset: 1, count: 1 } })],
  ZRANGE_WITHSCORES: [(r) => r.ZRANGE_WITHSCORES('z', 0, -1)],
  ZRANGEBYLEX: [(r) => r.ZRANGEBYLEX('z', '-', '[b')],
  ZRANGEBYSCORE: [(r) => r.ZRANGEBYSCORE('z', 1, '(3')],
  ZRANGEBYSCORE_WITHSCORES: [(r) => r.ZRANGEBYSCORE_WITHSCORES('z', 1, 3)],
  ZRANGESTORE: [(r) => r.ZRANGESTORE('d', 'z', 0, 1)],
  ZRANK: [(r) => r.ZRANK('z', 'b'), (r) => r.ZRANK('z', 'none')],
  ZRANK_WITHSCORE: [(r) => r.ZRANK_WITHSCORE('z', 'b'), (r) => r.ZRANK_WITHSCORE('z', 'none')],
  ZREM: [(r) => r.ZREM('z', ['a', 'none']), (r) => r.ZREM('z', ['a', 'b', 'c'])],
  ZREMRANGEBYLEX: [(r) => r.ZREMRANGEBYLEX('z', '-', '[b')],
  ZREMRANGEBYRANK: [(r) => r.ZREMRANGEBYRANK('z', 0, 1)],
  ZREMRANGEBYSCORE: [(r) => r.ZREMRANGEBYSCORE('z', 1, 2.5)],
  ZREVRANK: [(r) => r.ZREVRANK('z', 'b'), (r) => r.ZREVRANK('z', 'none')],
  ZREVRANK_WITHSCORE: [(r) => r.ZREVRANK_WITHSCORE('z', 'b'),
    (r) => r.ZREVRANK_WITHSCORE('z', 'none')],
  ZSCAN: [(r) => r.ZSCAN('z', '0'), (r) => r.ZSCAN('z', '0', { MATCH: 'a*', COUNT: 100 })],
  ZSCORE: [(r) => r.ZSCORE('z', 'b'), (r) => r.ZSCORE('z', 'none')],
  ZUNION: [(r) => r.ZUNION(['z', 'z2'])],
  ZUNION_WITHSCORES: [(r) => r.ZUNION_WITHSCORES(['z', 'z2'])],
  ZUNIONSTORE: [(r) => r.ZUNIONSTORE('d', ['z', 'z2'], { AGGREGATE: 'MIN' })],
  GEOADD: [(r) => r.GEOADD('geo', { longitude: 2.5, latitude: 48.5, member: 'x' })],
  GEODIST: [(r) => r.GEODIST('geo', 'Palermo', 'Catania', 'km'),
    (r) => r.GEODIST('geo', 'Palermo', 'none')],
  GEOHASH: [(r) => r.GEOHASH('geo', ['Palermo', 'none'])],
  GEOPOS: [(r) => r.GEOPOS('geo', ['Palermo', 'none'])],
  GEORADIUS: [(r) => r.GEORADIUS('geo', { longitude: 15, latitude: 37 }, 200, 'km')],
  GEORADIUS_RO: [(r) => r.GEORADIUS_RO('geo', { longitude: 15, latitude: 37 }, 200, 'km')],
  GEORADIUS_RO_WITH: [(r) => r.GEORADIUS_RO_WITH('geo', { longitude: 15, latitude: 37 }, 200, 'km',
    ['WITHDIST', 'WITHCOORD', 'WITHHASH'])],
  GEORADIUS_STORE: [(r) => r.GEORADIUS_STORE('geo', { longitude: 15, latitude: 37 }, 200, 'km', 'd')],
  GEORADIUS_WITH: [(r) => r.GEORADIUS_WITH('geo', { longitude: 15, latitude: 37 }, 200, 'km',
    ['WITHDIST'])],
  GEORADIUSBYMEMBER: [(r) => r.GEORADIUSBYMEMBER('geo', 'Palermo', 200, 'km')],
  GEORADIUSBYMEMBER_RO: [(r) => r.GEORADIUSBYMEMBER_RO('geo', 'Palermo', 200, 'km')],
  GEORADIUSBYMEMBER_RO_WITH: [(r) => r.GEORADIUSBYMEMBER_RO_WITH('geo', 'Palermo', 200, 'km',
    ['WITHDIST'])],
  GEORADIUSBYMEMBER_STORE: [(r) => r.GEORADIUSBYMEMBER_STORE('geo', 'Palermo', 200, 'km', 'd')],
  GEORADIUSBYMEMBER_WITH: [(r) => r.GEORADIUSBYMEMBER_WITH('geo', 'Palermo', 200, 'km',
    ['WITHDIST'])],
  GEOSEARCH: [(r) => r.GEOSEARCH('geo', 'Palermo', { width: 9, height: 9, unit: 'km' })],
  GEOSEARCH_WITH: [(r) => r.GEOSEARCH_WITH('geo', { longitude: 15, latitude: 37 },
    { radius: 200, unit: 'km' }, ['WITHDIST', 'WITHCOORD', 'WITHHASH'])],
  GEOSEARCHSTORE: [(r) => r.GEOSEARCHSTORE('d', 'geo', 'Palermo', { radius: 9, unit: 'km' })],
  LINDEX: [(r) => r.LINDEX('l', 0), (r) => r.LINDEX('l', -9)],
  LINSERT: [(r) => r.LINSERT('l', 'BEFORE', 'b', 'new'), (r) => r.LINSERT('l', 'AFTER', 'x', 'y')],
  LLEN: [(r) => r.LLEN('l'), (r) => r.LLEN('none')],
  BLPOP: [(r) => r.BLPOP(['none', 'l'], 1), (r) => r.BLPOP('none', 0.01)],
  BRPOP: [(r) => r.BRPOP(['none', 'l'], 1), (r) => r.BRPOP('k', 0.01)],
  BLMOVE: [(r) => r.BLMOVE('l', 'l2', 'LEFT', 'RIGHT', 1),
    (r) => r.BLMOVE('none', 'l', 'LEFT', 'LEFT', 0.01)],
  BRPOPLPUSH: [(r) => r.BRPOPLPUSH('l', 'l2', 1), (r) => r.BRPOPLPUSH('none', 'l', 0.01)],
  BLMPOP: [(r) => r.BLMPOP(1, ['none', 'l'], 'LEFT', { COUNT: 2 }),
    (r) => r.BLMPOP(0.01, 'none', 'RIGHT')],
  BZPOPMIN: [(r) => r.BZPOPMIN(['none', 'z'], 1), (r) => r.BZPOPMIN('none', 0.01)],
  BZPOPMAX: [(r) => r.BZPOPMAX(['none', 'z'], 1), (r) => r.BZPOPMAX('l', 0.01)],
  BZMPOP: [(r) => r.BZMPOP(1, ['none', 'z'], 'MAX', { COUNT: 2 }),
    (r) => r.BZMPOP(0.01, 'none', 'MIN')],
  LMOVE: [(r) => r.LMOVE('l', 'l2', 'LEFT', 'RIGHT'), (r) => r.LMOVE('none', 'l', 'LEFT', 'LEFT')],
  LMPOP: [(r) => r.LMPOP(['none', 'l'], 'LEFT', { COUNT: 2 }), (r) => r.LMPOP('none', 'RIGHT')],
  LPOP: [(r) => r.LPOP('l'), (r) => r.LPOP('none')],
  LPOP_COUNT: [(r) => r.LPOP_COUNT('l', 9), (r) => r.LPOP_COUNT('none', 2)],
  LPOS: [(r) => r.LPOS('l', 'b'), (r) => r.LPOS('l', 'b', { RANK: -1, MAXLEN: 9 }),
    (r) => r.LPOS('l', 'none')],
  LPOS_COUNT: [(r) => r.LPOS_COUNT('l', 'b', 0), (r) => r.LPOS_COUNT('l', 'b', 1, { RANK: 2 })],
  LPUSH: [(r) => r.LPUSH('l', ['x', '2']), (r) => r.LPUSH('k', 'a')],
  LPUSHX: [(r) => r.LPUSHX('l', ['x', 'y']), (r) => r.LPUSHX('none', 'x')],
  LRANGE: [(r) => r.LRANGE('l', 0, -1), (r) => r.LRANGE('none', 0, -1)],
  LREM: [(r) => r.LREM('l', -1, 'b'), (r) => r.LREM('none', 0, 'b')],
  LSET: [(r) => r.LSET('l', 1, 'new'), (r) => r.LSET('l', 9, 'new')],
  LTRIM: [(r) => r.LTRIM('l', 1, -2), (r) => r.LTRIM('l', 9, 9)],
  RPOP: [(r) => r.RPOP('l'), (r) => r.RPOP('none')],
  RPOP_COUNT: [(r) => r.RPOP_COUNT('l', 2), (r) => r.RPOP_COUNT('none', 2)],
  RPOPLPUSH: [(r) => r.RPOPLPUSH('l', 'l2'), (r) => r.RPOPLPUSH('none', 'l')],
  RPUSH: [(r) => r.RPUSH('l', ['x', '2']), (r) => r.RPUSH('k', 'a')],
  RPUSHX: [(r) => r.RPUSHX('l', ['x', 'y']), (r) => r.RPUSHX('none', 'x')],
  SORT: [(r) => r.SORT('s', { DIRECTION: 'DESC' }), (r) => r.SORT('l'),
    (r) => r.SORT('l', { ALPHA: true, LIMIT: { offset: 1, count: 2 }, GET: '#' })],
  SORT_RO: [(r) => r.SORT_RO('s', { DIRECTION: 'DESC' }), (r) => r.SORT_RO('none')],
  SORT_STORE: [(r) => r.SORT_STORE('l', 'd', { BY: 'no' }), (r) => r.SORT_STORE('s', 'd')],
  PFADD: [(r) => r.PFADD('hll', 'a'), (r) => r.PFADD('hll', ['x', 'y']), (r) => r.PFADD('new')],
  PFCOUNT: [(r) => r.PFCOUNT('hll'), (r) => r.PFCOUNT(['hll', 'hll2']), (r) => r.PFCOUNT('k')],
  PFMERGE: [(r) => r.PFMERGE('d', ['hll', 'hll2']), (r) => r.PFMERGE('d')],
  PING: [(r) => r.PING(), (r) => r.PING('said')],
  PSETEX: [(r) => r.PSETEX('k', 100000, 'v'), (r) => r.PSETEX('k', 0, 'v')],
  PTTL: [(r) => r.PTTL('k'), (r) => r.PTTL('none')],
  RANDOMKEY: [(r) => r.RANDOMKEY()],
  READONLY: [(r) => r.READONLY()],
  RENAME: [(r) => r.RENAME('timed', 'k'), (r) => r.RENAME('none', 'd')],
  RENAMENX: [(r) => r.RENAMENX('k', 'd'), (r) => r.RENAMENX('k', 'n')],
  REPLICAOF: [(r) => r.REPLICAOF('NO', 'ONE')],
  MIGRATE: [(r) => r.MIGRATE('127.0.0.1', 1, 'none', 0, 5),
    (r) => r.MIGRATE('127.0.0.1', 1, ['none', 'nil'], 0, 5, { COPY: true, AUTH: { password: 'a' } }),
    (r) => r.MIGRATE('127.0.0.1', 1, 'k', 'x', 5)],
  'RESTORE-ASKING': [(r) => r['RESTORE-ASKING']()],
  RESTORE: [(r) => r.RESTORE('new', 0, PAYLOAD), (r) => r.RESTORE('k', 0, PAYLOAD),
    (r) => r.RESTORE('k', FUTURE * 1000, PAYLOAD, { REPLACE: true, ABSTTL: true }),
    (r) => r.RESTORE('new', 0, PAYLOAD, { IDLETIME: 5 }),
    (r) => r.RESTORE('new', 0, PAYLOAD, { FREQ: 5 }), (r) => r.RESTORE('new', 0, 'abc')],
  ROLE: [(r) => r.ROLE()],
  SCAN: [(r) => r.SCAN('0', { COUNT: 1000 }), (r) => r.SCAN('x')],
  SET: [(r) => r.SET('k', 'new'), (r) => r.SET('k', 1, { condition: 'NX' }),
    (r) => r.SET('k', 'v', { expiration: { type: 'PX', value: 100000 } }),
    (r) => r.SET('timed', 'v', { expiration: 'KEEPTTL', GET: true }),
    (r) => r.SET('none', 'v', { condition: 'XX', GET: true }),
    (r) => r.SET('k', 'v', { expiration: { type: 'EX', value: -1 } })],
  SETBIT: [(r) => r.SETBIT('bits', 7, 0), (r) => r.SETBIT('new', 100, 1)],
  SETEX: [(r) => r.SETEX('k', 100, 'v'), (r) => r.SETEX('k', 0, 'v')],
  SETNX: [(r) => r.SETNX('new', 'v'), (r) => r.SETNX('k', 'v')],
  SETRANGE: [(r) => r.SETRANGE('k', 2, 'XX'), (r) => r.SETRANGE('k', -1, 'y')],
  STRLEN: [(r) => r.STRLEN('k')],
  SWAPDB: [(r) => r.SWAPDB(0, 1), (r) => r.SWAPDB(0, 99)],
  TIME: [(r) => r.TIME()],
  TOUCH: [(r) => r.TOUCH(['k', 'none', 'n'])],
  TTL: [(r) => r.TTL('k'), (r) => r.TTL('none')],
  XACK: [(r) => r.XACK('x', 'g', ['1-0', '9-0']), (r) => r.XACK('x', 'none', '1-0')],
  XADD: [(r) => r.XADD('x', '4-1', { d: '4' }), (r) => r.XADD('x', '1-1', { d: '4' }),
    (r) => r.XADD('x', '9-*', { d: '4' }, { TRIM: { strategy: 'MAXLEN', threshold: 2 } })],
  XADD_NOMKSTREAM: [(r) => r.XADD_NOMKSTREAM('none', '*', { d: '4' })],
  XAUTOCLAIM: [(r) => r.XAUTOCLAIM('x', 'g', 'you', 0, '-', { COUNT: 1 })],
  XAUTOCLAIM_JUSTID: [(r) => r.XAUTOCLAIM_JUSTID('x', 'g', 'you', 0, '-')],
  XCLAIM: [(r) => r.XCLAIM('x', 'g', 'you', 0, ['1-0', '3-0']),
    (r) => r.XCLAIM('x', 'g', 'you', 0, '3-0', { RETRYCOUNT: 5, FORCE: true })],
  XCLAIM_JUSTID: [(r) => r.XCLAIM_JUSTID('x', 'g', 'you', 0, '1-0')],
  XDEL: [(r) => r.XDEL('x', ['1-0', '9-0']), (r) => r.XDEL('none', '1-0')],
  XGROUP_CREATE: [(r) => r.XGROUP_CREATE('x', 'h', '0'), (r) => r.XGROUP_CREATE('x', 'g', '0'),
    (r) => r.XGROUP_CREATE('new', 'g', '$', { MKSTREAM: true })],
  XGROUP_CREATECONSUMER: [(r) => r.XGROUP_CREATECONSUMER('x', 'g', 'you')],
  XGROUP_DELCONSUMER: [(r) => r.XGROUP_DELCONSUMER('x', 'g', 'me')],
  XGROUP_DESTROY: [(r) => r.XGROUP_DESTROY('x', 'g'), (r) => r.XGROUP_DESTROY('x', 'none')],
  XGROUP_SETID: [(r) => r.XGROUP_SETID('x', 'g', '1-0')],
  XINFO_CONSUMERS: [(r) => r.XINFO_CONSUMERS('x', 'g')],
  XINFO_GROUPS: [(r) => r.XINFO_GROUPS('x'), (r) => r.XINFO_GROUPS('none')],
  XINFO_STREAM: [(r) => r.XINFO_STREAM('x'), (r) => r.XINFO_STREAM('none')],
  XLEN: [(r) => r.XLEN('x'), (r) => r.XLEN('none'), (r) => r.XLEN('k')],
  XPENDING: [(r) => r.XPENDING('x', 'g'), (r) => r.XPENDING('x', 'none')],
  XPENDING_RANGE: [(r) => r.XPENDING_RANGE('x', 'g', '-', '+', 10)],
  XRANGE: [(r) => r.XRANGE('x', '-', '+'), (r) => r.XRANGE('x', '(1-0', '+', { COUNT: 1 })],
  XREAD: [(r) => r.XREAD({ key: 'x', id: '1-0' }), (r) => r.XREAD({ key: 'x', id: '$' })],
  XREADGROUP: [(r) => r.XREADGROUP('g', 'you', { key: 'x', id: '>' }),
    (r) => r.XREADGROUP('g', 'me', { key: 'x', id: '0' }, { COUNT: 1 })],
  XREVRANGE: [(r) => r.XREVRANGE('x', '+', '-'), (r) => r.XREVRANGE('x', '2', '-', { COUNT: 1 })],
  XSETID: [(r) => r.XSETID('x', '9-0'), (r) => r.XSETID('x', '1-0')],
  XTRIM: [(r) => r.XTRIM('x', 'MAXLEN', 1), (r) => r.XTRIM('x', 'MINID', 3)],
  TYPE: [(r) => r.TYPE('k'), (r) => r.TYPE('none')],
  UNLINK: [(r) => r.UNLINK(['k', 'none', 'n'])],
  WAIT: [(r) => r.WAIT(0, 0), (r) => r.WAIT(1, 1), (r) => r.WAIT(1, -1)],
  // The client's own.
  MULTI: [transactions],
  MONITOR: [monitored],
  scanIterator: [scanned],
  sendCommand: [(r) => r.sendCommand(['NOSUCH', 'a']), (r) => r.sendCommand(['GET']), pipelined],
  SELECT: [async (r, s) => {
    const other = await s.open();
    await other.SELECT(1);
    const given = [await other.GET('k'), await outcome(() => other.SELECT(16))];
    return [...given, await (await s.open({ database: 1 })).GET('away')];
  }],
  QUIT: [async (r, s) => outcome(() => s.open().then((other) => other.QUIT()))],
  RESET: [async (r, s) => {
    const other = await s.open({ database: 1 });
    return [await other.GET('k'), await outcome(() => other.reset())];
  }],
  executeIsolated: [pooled],
};

// Methods of the client that send nothing of their own, or what is tested by another's steps, or
// commands of a later issue.
const own = new Set(['WATCH', 'watch', 'UNWATCH', 'unwatch', 'multi', 'quit', 'close', 'destroy',
  'disconnect', 'connect', 'duplicate', 'ref', 'unref', 'select', 'legacy', 'on', 'monitor',
  'withCommandOptions', 'withTypeMapping', 'withAbortSignal', 'asap', 'createPool', 'reset',
  'SUBSCRIBE', 'subscribe', 'UNSUBSCRIBE', 'unsubscribe', 'PSUBSCRIBE', 'pSubscribe',
  'PUNSUBSCRIBE', 'pUnsubscribe', 'SSUBSCRIBE', 'sSubscribe', 'SUNSUBSCRIBE', 'sUnsubscribe',
  'hScanIterator', 'hScanNoValuesIterator', 'hScanValuesIterator', 'sScanIterator',
  'zScanIterator', 'executePipeline', 'executeScript', 'Multi', 'bf', 'cf', 'cms', 'ft', 'json',
  'tDigest', 'topK', 'ts']);

function forgotten(known) {
  const containers = new Set([...known].filter((n) => n.includes('|')).map((n) => n.split('|')[0]));
  const missing = [];
  for (const name of Object.keys(commands).filter((n) => n === n.toUpperCase())) {
    const words = name.toLowerCase().split('_');
    const first = words[0];
    const exists = known.has(words.slice(0, 2).join('|')) || known.has(words.slice(0, 2).join('_'))
      || (known.has(first) && !(containers.has(first) && words.length > 1));
    if (exists && !(name in methods)) missing.push(`${name} exists, and has no call`);
  }
  const proto = Object.getOwnPropertyNames(Object.getPrototypeOf(Object.getPrototypeOf(
    createClient({ socket: { port: ports[0] } }))));
  for (const name of proto) {
    if (own.has(name) || name in methods || name.startsWith('_') || name === 'constructor') continue;
    if (name.startsWith('is') || name in commands) continue;
    missing.push(`${name}: unknown what it sends`);
  }
  return missing;
}

const line = (v) => [fields(v).filter((n) => !/^lib/.test(n)), v.name, v.flags, v.db, v.resp];
const sorted = (v) => [...v].sort();
const byName = (list) => new Map(list.map((of) => [of.name, of]));

function described(got, want) {
  const [ours, theirs] = [byName(got), byName(want)];
  const both = [...theirs.keys()].filter((name) => ours.has(name) && !['wait', 'zrank', 'zrevrank'].includes(name));
  const told = (of) => [of.name, of.arity, sorted(of.flags), of.firstKeyIndex, of.lastKeyIndex,
    of.step];
  return [ours, theirs].map((all) => both.map((name) => told(all.get(name))));
}

/** Documentation without what 7.2 added to each argument. */
const undisplayed = (docs) => JSON.parse(JSON.stringify(docs,
  (name, value) => (name === 'display_text' ? undefined : value)));

const loose = {
  'ACL_CAT#1': [sorted, 'no order is promised'],
  CLIENT_ID: [kind, 'a number of its own'],
  CLIENT_INFO: [line, 'addresses, clocks, buffers, and fields 7.2 added'],
  'CLIENT_LIST#0': [(v) => line(v[0])[0], 'the same, and whoever else is connected'],
  'CLIENT_LIST#2': [(v) => v.map(line), 'the same'],
  COMMAND_COUNT: [kind, 'commands of later issues are missing'],
  COMMAND_LIST: [sorted, 'no order is promised'],
  COMMAND_DOCS: [undisplayed, '7.2 shows names of arguments'],
  HELLO: [([told, ...rest]) => [fields(told), told.proto, told.mode, told.role, rest],
    'the version and the number of the connection'],
  KEYS: [sorted, 'no order is promised'],
  LATENCY_DOCTOR: [kind, "each program's own words"],
  LATENCY_HISTOGRAM: [fields, 'measured times'],
  LASTSAVE: [kind, 'a clock'],
  LOLWUT: [kind, "each program's own picture"],
  MEMORY_DOCTOR: [kind, "each program's own words"],
  'MEMORY_MALLOC-STATS': [kind, "each allocator's own words"],
  MEMORY_STATS: [(v) => fields(v).filter((n) => !/^db\./.test(n)), "each engine's own count"],
  MEMORY_USAGE: [kind, "each engine's own count"],
  OBJECT_IDLETIME: [kind, 'a clock'],
  RANDOMKEY: [kind, 'random'],
  'SCAN#0': [fields, 'no order is promised, and a page may end anywhere: see scanIterator'],
  TIME: [kind, 'a clock'],
  XINFO_CONSUMERS: [(v) => v.map((one) => [one.name, one.pending]),
    'clocks, and a field that 7.2 added'],
  XPENDING_RANGE: [(v) => v.map((one) => [one.id, one.consumer, one.deliveriesCounter]), 'a clock'],
};
const pairs = {
  COMMAND: [described, 'commands of later issues are missing; 7.2 gave WAIT other flags'],
  INFO: [allOf(names), "values are each server's own"],
  'LATENCY_HISTOGRAM#0': [allOf((v) => fields(v).filter((n) => !/setinfo/.test(n))),
    '7.0 has no CLIENT SETINFO'],
};
const contract = {
  'ZRANK_WITHSCORE#0': [{ rank: 1, score: 2.5 }, 'new in 7.2'],
  'ZRANK_WITHSCORE#1': [null, 'new in 7.2'],
  'ZREVRANK_WITHSCORE#0': [{ rank: 1, score: 2.5 }, 'new in 7.2'],
  'ZREVRANK_WITHSCORE#1': [null, 'new in 7.2'],
  'HSCAN_NOVALUES#0': [{ cursor: '0', fields: ['field'] }, 'new in 7.4'],
  'ACL_GETUSER#0': [{ channels: '&*', commands: '+@all', flags: ['on', 'nopass', 'sanitize-payload'],
    keys: '~*', passwords: [], selectors: [] }, '7.2 names the flag'],
  'ACL_LIST#0': [['user default on nopass sanitize-payload ~* &* +@all'], '7.2 names the flag'],
  'CLIENT_NO-TOUCH#0': ['OK', 'new in 7.2'],
  'CLIENT_NO-TOUCH#1': ['OK', 'new in 7.2'],
  'DELEX#0': [1, 'new in 8.4'],
  'DELEX#1': [0, 'new in 8.4'],
  'DELEX#2': [1, 'new in 8.4'],
  'DIGEST#0': ['87d57e269b9df0f0', 'new in 8.4'],
  'DIGEST#1': [null, 'new in 8.4'],
  'HEXPIRE#0': [[1, -2], 'new in 7.4'],
  'HEXPIRE#1': [[2], 'new in 7.4'],
  'HEXPIREAT#0': [[0], 'new in 7.4'],
  'HEXPIRETIME#0': [[-1, -2], 'new in 7.4'],
  'HGETDEL#0': [['1', null], 'new in 8.0'],
  'HGETEX#0': [['1', null], 'new in 8.0'],
  'HGETEX#1': [['two'], 'new in 8.0'],
  'HPERSIST#0': [[-1, -2], 'new in 7.4'],
  'HPEXPIRE#0': [[1], 'new in 7.4'],
  'HPEXPIREAT#0': [[1, 1], 'new in 7.4'],
  'HPEXPIRETIME#0': [[-1, -2], 'new in 7.4'],
  'HPTTL#0': [[-1, -2], 'new in 7.4'],
  'HSETEX#0': [1, 'new in 8.0'],
  'HSETEX#1': [0, 'new in 8.0'],
  'HTTL#0': [[-1, -2], 'new in 7.4'],
  'MSETEX#0': [1, 'new in 8.4'],
  'CLUSTER_MYSHARDID#0': [
    new Raised('SimpleError: ERR This instance has cluster support disabled'), 'new in 7.2'],
};

main({ name: `node-redis ${version}`, methods, loose, pairs, contract, open, forgotten,
  close: (client) => outcome(() => client.destroy()) });
