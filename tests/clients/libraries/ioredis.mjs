// Every command of ioredis that the server has, called on two servers and compared.
//
// Usage: RINGSTONE_NODE_PACKAGES=DIR node ioredis.mjs PORT_OF_REDIS_SERVER PORT_OF_THE_SUBJECT
//
// ioredis has one method for each command, and one that gives buffers. Every command of its list
// that the server has, and every subcommand the server names, needs a line in `lines`; each line is
// called in both ways. `methods` adds what the client makes of several commands.
import {
  FUTURE, Raised, allOf, fields, kind, load, main, names, outcome,
} from './each.mjs';

const Redis = load('ioredis');
const { list } = load('@ioredis/commands');
const { version } = load('ioredis/package.json');

async function open(port, protocol, more = {}) {
  const options = { port, protocol, lazyConnect: true, retryStrategy: () => 1, ...more };
  const client = new Redis(options);
  client.on('error', () => {});
  await client.connect();
  return client;
}

const FIELD = ['SET', 'u8', 0, 7, 'OVERFLOW', 'FAIL', 'INCRBY', 'u8', 0, 250, 'GET', 'i4', '#1'];
// Of the string abc.
const PAYLOAD = Buffer.from('00036162630a00d9ac303d4172a2e2', 'hex');
const NODE = '0123456789012345678901234567890123456789';

// command, or container|subcommand: its arguments, once or several times.
const lines = {
  'acl|cat': [[], ['hyperloglog'], ['nosuch']], 'acl|getuser': [['default'], ['nobody']],
  'acl|help': [[]], 'acl|list': [[]], 'acl|users': [[]], 'acl|whoami': [[]],
  append: [['k', '!'], ['new', Buffer.from([0, 255])]], asking: [[]],
  auth: [['secret'], ['nobody', 'secret']],
  bitcount: [['bits'], ['bits', 0, 0], ['bits', 5, 9, 'BIT'], ['bits', 1]],
  bitfield: [['bits', ...FIELD], ['bits', 'GET', 'u64', 0]],
  bitfield_ro: [['bits', 'GET', 'u8', 0, 'GET', 'i5', 3]],
  bitop: [['AND', 'd', 'bits', 'k'], ['NOT', 'd', 'bits'], ['NOT', 'd', 'bits', 'k']],
  bitpos: [['bits', 1], ['bits', 0, 1], ['bits', 1, 2, 20, 'BIT']],
  'client|getname': [[]], 'client|getredir': [[]], 'client|help': [[]], 'client|id': [[]],
  'client|info': [[]],
  'client|kill': [['1.2.3.4:5'], ['ID', 1 << 30], ['TYPE', 'odd'], ['LADDR', '1.2.3.4:5']],
  'client|list': [['TYPE', 'replica'], ['ID', 1 << 30], ['TYPE', 'odd']],
  'client|no-evict': [['ON'], ['x']], 'client|no-touch': [['OFF'], ['x']],
  'client|pause': [['x'], [1, 'WRITE']], 'client|reply': [['ON'], ['x']],
  'client|setinfo': [['LIB-NAME', 'a'], ['odd', 'b']], 'client|setname': [['a-name'], ['a b']],
  'client|trackinginfo': [[]], 'client|unblock': [[1 << 30], ['x']], 'client|unpause': [[]],
  'cluster|addslots': [[1]], 'cluster|addslotsrange': [[1, 2]], 'cluster|bumpepoch': [[]],
  'cluster|count-failure-reports': [[NODE]], 'cluster|countkeysinslot': [[1]],
  'cluster|delslots': [[1]], 'cluster|delslotsrange': [[1, 2]], 'cluster|failover': [[]],
  'cluster|flushslots': [[]], 'cluster|forget': [[NODE]], 'cluster|getkeysinslot': [[1, 2]],
  'cluster|help': [[]], 'cluster|info': [[]], 'cluster|keyslot': [['foo{bar}']],
  'cluster|links': [[]], 'cluster|meet': [['127.0.0.1', 1]], 'cluster|myid': [[]],
  'cluster|myshardid': [[]], 'cluster|nodes': [[]], 'cluster|replicas': [[NODE]],
  'cluster|replicate': [[NODE]], 'cluster|reset': [[]], 'cluster|saveconfig': [[]],
  'cluster|set-config-epoch': [[1]], 'cluster|setslot': [[1, 'STABLE']], 'cluster|shards': [[]],
  'cluster|slaves': [[NODE]], 'cluster|slots': [[]],
  command: [[]], 'command|count': [[]], 'command|docs': [['append']],
  'command|getkeys': [['MSET', 'a', 1, 'b', 2], ['PING', 'x']],
  'command|getkeysandflags': [['COPY', 'a', 'b']], 'command|help': [[]],
  'command|info': [['get', 'nosuch', 'object|freq']],
  'command|list': [['FILTERBY', 'PATTERN', 'get*'], ['FILTERBY', 'ACLCAT', 'bitmap']],
  'config|get': [['max*'], ['hz', 'timeout'], ['nosuch']], 'config|help': [[]],
  'config|resetstat': [[]], 'config|rewrite': [[]],
  'config|set': [['timeout', 0], ['nosuch', 1], ['maxclients', 'x']],
  copy: [['k', 'd'], ['k', 'n', 'REPLACE'], ['n', 'd', 'DB', 1], ['k', 'n']], dbsize: [[]],
  debug: [['OBJECT', 'k'], ['SLEEP', 0]], decr: [['n'], ['k']], decrby: [['n', 40]],
  del: [['k'], ['k', 'n', 'none', 'k']], discard: [[]], dump: [['n'], ['none']], echo: [['what']], exec: [[]],
  exists: [['k'], ['k', 'k', 'none']],
  expire: [['k', 100], ['timed', 5, 'GT'], ['k', -1], ['k', 1, 'NX', 'XX']],
  expireat: [['k', FUTURE], ['k', 1]], expiretime: [['k'], ['none']],
  failover: [['ABORT'], ['FORCE']], flushall: [[], ['ASYNC'], ['x']], flushdb: [[], ['SYNC']],
  get: [['k'], ['none'], []], getbit: [['bits', 4], ['bits', -1]], getdel: [['k'], ['none']],
  getex: [['k', 'EX', 100], ['timed', 'PERSIST'], ['k', 'PXAT', FUTURE * 1000], ['k', 'EX', 0]],
  getrange: [['k', 1, 3], ['k', -3, -1]], getset: [['k', 'new'], ['new', 1]],
  hello: [[9], ['x']], incr: [['n'], ['k']], incrby: [['n', 5], ['n', '9223372036854775807']],
  incrbyfloat: [['f', 0.1], ['k', 1]], info: [[], ['server'], ['everything'], ['nosuch']],
  keys: [['*'], ['lcs?']],
  'latency|doctor': [[]], 'latency|graph': [['command']], 'latency|help': [[]],
  'latency|histogram': [['set', 'get'], ['nosuch']], 'latency|history': [['command']],
  'latency|latest': [[]], 'latency|reset': [[], ['command']],
  lcs: [['lcs1', 'lcs2'], ['lcs1', 'lcs2', 'LEN'], ['lcs1', 'lcs2', 'IDX', 'WITHMATCHLEN']],
  lastsave: [[]], save: [[]], bgsave: [['NOW'], ['SCHEDULE', 'x']],
  bgrewriteaof: [['NOW'], ['x', 'y']],
  lolwut: [[], ['VERSION', 5]],
  'memory|doctor': [[]], 'memory|help': [[]], 'memory|malloc-stats': [[]], 'memory|purge': [[]],
  'memory|stats': [[]], 'memory|usage': [['k'], ['none']],
  mget: [['k', 'none', 'n']], 'module|help': [[]], 'module|list': [[]],
  move: [['n', 1], ['k', 1], ['k', 99]], mset: [['a', 1, 'k', 2], ['a']],
  msetnx: [['a', 1, 'b', 2], ['a', 1, 'k', 2]],
  'object|encoding': [['n'], ['hll'], ['none']], 'object|freq': [['k']], 'object|help': [[]],
  'object|idletime': [['k']], 'object|refcount': [['k']],
  persist: [['timed'], ['k']], pexpire: [['k', 100000], ['timed', 5, 'GT']],
  pexpireat: [['k', FUTURE * 1000], ['k', 5]], pexpiretime: [['k'], ['none']],
  pfadd: [['hll', 'a'], ['hll', 'x', 'y'], ['new'], ['k', 'a']],
  pfcount: [['hll'], ['hll', 'hll2'], ['k']], pfdebug: [['ENCODING', 'hll'], ['TODENSE', 'hll']],
  pfmerge: [['d', 'hll', 'hll2'], ['d', 'k']], pfselftest: [[]], ping: [[], ['said']],
  psetex: [['k', 100000, 'v'], ['k', 0, 'v']], pttl: [['k'], ['none']], randomkey: [[]],
  readonly: [[]], readwrite: [[]], rename: [['timed', 'k'], ['none', 'd']],
  renamenx: [['k', 'd'], ['k', 'n']], replicaof: [['NO', 'ONE']], role: [[]],
  migrate: [['127.0.0.1', 1, 'none', 0, 5], ['127.0.0.1', 1, 'k', 'x', 5],
    ['127.0.0.1', 1, 'k', 0, 5, 'KEYS', 'k']],
  'restore-asking': [['new', 0, PAYLOAD], ['k', 0, PAYLOAD]],
  restore: [['new', 0, PAYLOAD], ['k', 0, PAYLOAD], ['k', 0, PAYLOAD, 'REPLACE'], ['new', 0, 'abc']],
  scan: [[0, 'COUNT', 1000], ['x']],
  set: [['k', 'new'], ['k', 1, 'NX'], ['k', 'v', 'PX', 100000], ['timed', 'v', 'KEEPTTL', 'GET'],
    ['none', 'v', 'XX', 'GET'], ['k', 'v', 'EX', -1], ['k', 'v', 'NX', 'XX']],
  delex: [['k', 'IFEQ', 'value'], ['k', 'IFNE', 'value'], ['h']],
  digest: [['k'], ['none']],
  hexpire: [['h', 100, 'FIELDS', 2, 'a', 'none'], ['h', 0, 'FIELDS', 1, 'a']],
  hexpireat: [['h', FUTURE, 'GT', 'FIELDS', 1, 'a']],
  hexpiretime: [['h', 'FIELDS', 2, 'a', 'none']],
  hgetdel: [['h', 'FIELDS', 2, 'a', 'none']],
  hgetex: [['h', 'EX', 100, 'FIELDS', 2, 'a', 'none'], ['h', 'PERSIST', 'FIELDS', 1, 'b']],
  hpersist: [['h', 'FIELDS', 2, 'a', 'none']],
  hpexpire: [['h', 100000, 'NX', 'FIELDS', 1, 'a']],
  hpexpireat: [['h', FUTURE * 1000, 'FIELDS', 2, 'a', 'b']],
  hpexpiretime: [['h', 'FIELDS', 2, 'a', 'none']],
  hpttl: [['h', 'FIELDS', 2, 'a', 'none']],
  hsetex: [['h', 'EX', 100, 'FIELDS', 1, 'a', 5], ['none', 'KEEPTTL', 'FIELDS', 1, 'a', 5]],
  httl: [['h', 'FIELDS', 2, 'a', 'none']],
  msetex: [[2, 'a', 1, 'k', 2, 'EX', 100]],
  delifeq: [['k', 'value'], ['k', 'other']],
  hdel: [['h', 'a', 'none'], ['k', 'a']], hexists: [['h', 'a'], ['none', 'a']],
  hget: [['h', 'a'], ['h', 'none'], ['k', 'a']], hgetall: [['h'], ['none']],
  hincrby: [['h', 'a', 5], ['h', 'b', 1]], hincrbyfloat: [['h', 'a', 0.5], ['h', 'b', 1]],
  hkeys: [['h'], ['none']], hlen: [['h'], ['none']], hmget: [['h', 'a', 'none'], ['none', 'a']],
  hmset: [['h', 'a', 2, 'c', 'd'], ['h', 'a']], hrandfield: [['one'], ['one', 3, 'WITHVALUES']],
  hscan: [['h', 0], ['h', 0, 'MATCH', 'a*'], ['h', 'x']],
  hset: [['h', 'a', 3, 'c', 'd'], ['k', 'a', 1], ['h', 'a']], hsetnx: [['h', 'a', 3], ['h', 'c', 3]],
  hstrlen: [['h', 'b'], ['h', 'none']], hvals: [['h'], ['none']],
  sadd: [['s', 3, 4, 'x'], ['k', 'a']], scard: [['s'], ['none']],
  sdiff: [['s', 's2'], ['none', 's']], sdiffstore: [['d', 's', 's2'], ['d', 's', 's']],
  sinter: [['s', 's2'], ['s', 'none'], ['s', 'k']], sinterstore: [['d', 's', 's2']],
  sismember: [['s', 1], ['s', 9]], smembers: [['s'], ['none']], smismember: [['s', 1, 9]],
  smove: [['s', 's2', 1], ['s', 's2', 9]], spop: [['s', 100], ['none'], ['s', -1]],
  srandmember: [['s', 100], ['none'], ['s', 1, 2]], srem: [['s', 1, 9], ['s', 1, 2, 3]],
  sscan: [['s', 0], ['s', 0, 'MATCH', '1*']], sunion: [['s', 's2'], ['none', 's']],
  sunionstore: [['d', 's', 's2']],
  sintercard: [[2, 's', 's2'], [2, 's', 's2', 'LIMIT', 1], [0, 's']],
  zadd: [['z', 4, 'a', 0.5, 'd'], ['z', 'NX', 4, 'a'], ['z', 'INCR', 4, 'a'], ['z', 'x', 'a']],
  zcard: [['z'], ['none']], zcount: [['z', '(1', '+inf'], ['z', 'x', 1]],
  zdiff: [[2, 'z', 'z2'], [2, 'z', 'z2', 'WITHSCORES']], zdiffstore: [['d', 2, 'z', 'z2']],
  zincrby: [['z', 1.5, 'a'], ['new', 1, 'a']],
  zinter: [[2, 'z', 'z2'], [2, 'z', 'z2', 'WEIGHTS', 2, 3, 'WITHSCORES'], [0, 'z']],
  zintercard: [[2, 'z', 'z2'], [2, 'z', 'z2', 'LIMIT', 1]], zinterstore: [['d', 2, 'z', 'z2']],
  zlexcount: [['z', '-', '+'], ['z', 'x', '+']],
  zmpop: [[2, 'none', 'z', 'MIN'], [1, 'z', 'MAX', 'COUNT', 2], [1, 'none', 'MIN']],
  zmscore: [['z', 'a', 'none']], zpopmax: [['z'], ['z', 2], ['none']],
  zpopmin: [['z'], ['z', 2], ['z', -1]], zrandmember: [['none'], ['none', 2]],
  zrange: [['z', 0, -1], ['z', 0, -1, 'REV', 'WITHSCORES'], ['z', 1, 3, 'BYSCORE', 'LIMIT', 1, 1]],
  zrangebylex: [['z', '-', '[b'], ['z', 'x', '+']], zrangebyscore: [['z', 1, '(3', 'WITHSCORES']],
  zrangestore: [['d', 'z', 0, 1]], zrank: [['z', 'b'], ['z', 'none']],
  zrem: [['z', 'a', 'none'], ['z', 'a', 'b', 'c']], zremrangebylex: [['z', '-', '[b']],
  zremrangebyrank: [['z', 0, 1]], zremrangebyscore: [['z', 1, 2.5], ['z', 'x', 1]],
  zrevrange: [['z', 0, -1], ['z', 0, 0, 'WITHSCORES']], zrevrangebylex: [['z', '+', '-']],
  zrevrangebyscore: [['z', 'inf', '-inf', 'WITHSCORES']], zrevrank: [['z', 'b'], ['z', 'none']],
  zscan: [['z', 0], ['z', 0, 'MATCH', 'a*'], ['z', 'x']], zscore: [['z', 'b'], ['z', 'none']],
  zunion: [[2, 'z', 'z2'], [2, 'z', 'z2', 'WITHSCORES']],
  zunionstore: [['d', 2, 'z', 'z2', 'AGGREGATE', 'MIN']],
  geoadd: [['geo', 2.5, 48.5, 'x'], ['geo', 1, 99, 'x'], ['geo', 'CH', 2.5, 48.5, 'Palermo']],
  geodist: [['geo', 'Palermo', 'Catania', 'km'], ['geo', 'Palermo', 'none']],
  geohash: [['geo', 'Palermo', 'none']], geopos: [['geo', 'Palermo', 'none']],
  georadius: [['geo', 15, 37, 200, 'km', 'WITHDIST', 'ASC'], ['geo', 15, 37, 200, 'km', 'STORE', 'd']],
  georadius_ro: [['geo', 15, 37, 200, 'km', 'WITHCOORD']],
  georadiusbymember: [['geo', 'Palermo', 200, 'km'], ['geo', 'none', 200, 'km']],
  georadiusbymember_ro: [['geo', 'Palermo', 200, 'km', 'DESC']],
  geosearch: [['geo', 'FROMLONLAT', 15, 37, 'BYRADIUS', 200, 'km', 'WITHHASH'],
    ['geo', 'FROMMEMBER', 'Palermo', 'BYBOX', 9, 9, 'km'], ['geo', 'FROMMEMBER', 'a', 'BYBOX', 9, 9, 'km']],
  geosearchstore: [['d', 'geo', 'FROMLONLAT', 15, 37, 'BYRADIUS', 200, 'km', 'STOREDIST']],
  lindex: [['l', 0], ['l', -9], ['k', 0]],
  linsert: [['l', 'BEFORE', 'b', 'new'], ['l', 'AFTER', 'none', 'new'], ['l', 'ON', 'b', 'new']],
  blpop: [['none', 'l', 1], ['none', 0.01]], brpop: [['none', 'l', 1], ['k', 0.01]],
  blmove: [['l', 'l2', 'LEFT', 'RIGHT', 1], ['none', 'l', 'LEFT', 'LEFT', 0.01]],
  brpoplpush: [['l', 'l2', 1], ['none', 'l', 0.01]],
  blmpop: [[1, 2, 'none', 'l', 'LEFT', 'COUNT', 2], [0.01, 1, 'none', 'RIGHT'], [0, 0, 'l', 'LEFT']],
  bzpopmin: [['none', 'z', 1], ['none', 0.01]], bzpopmax: [['none', 'z', 1], ['l', 0.01]],
  bzmpop: [[1, 2, 'none', 'z', 'MAX', 'COUNT', 2], [0.01, 1, 'none', 'MIN']],
  llen: [['l'], ['none'], ['k']], lmove: [['l', 'l2', 'LEFT', 'RIGHT'], ['none', 'l', 'LEFT', 'LEFT']],
  lmpop: [[2, 'none', 'l', 'LEFT', 'COUNT', 2], [1, 'none', 'RIGHT'], [0, 'l', 'LEFT']],
  lpop: [['l'], ['l', 9], ['none'], ['none', 2], ['l', -1]],
  lpos: [['l', 'b'], ['l', 'b', 'RANK', -1, 'COUNT', 0], ['l', 'none'], ['l', 'b', 'RANK', 0]],
  lpush: [['l', 'x', 2], ['new', 'a'], ['k', 'a']], lpushx: [['l', 'x', 'y'], ['none', 'x']],
  lrange: [['l', 0, -1], ['l', 3, 1], ['none', 0, -1]], lrem: [['l', -1, 'b'], ['none', 0, 'b']],
  lset: [['l', 1, 'new'], ['l', 9, 'new'], ['none', 0, 'new']],
  ltrim: [['l', 1, -2], ['l', 9, 9]], rpop: [['l'], ['l', 2], ['none']],
  rpoplpush: [['l', 'l2'], ['none', 'l']], rpush: [['l', 'x', 2], ['k', 'a']],
  rpushx: [['l', 'x'], ['none', 'x']],
  sort: [['s', 'DESC'], ['l', 'ALPHA', 'LIMIT', 1, 2, 'GET', '#'], ['l', 'BY', 'no', 'STORE', 'd'],
    ['l'], ['k']], sort_ro: [['s', 'DESC'], ['s', 'STORE', 'd']],
  setbit: [['bits', 7, 0], ['new', 100, 1]], setex: [['k', 100, 'v'], ['k', 0, 'v']],
  setnx: [['new', 'v'], ['k', 'v']], setrange: [['k', 2, 'XX'], ['k', -1, 'y']],
  shutdown: [['ABORT'], ['SAVE', 'NOSAVE']], slaveof: [['NO', 'ONE']],
  'slowlog|get': [[0], ['x']], 'slowlog|help': [[]], 'slowlog|len': [[]], 'slowlog|reset': [[]],
  strlen: [['k']], substr: [['k', 1, 3]], swapdb: [[0, 1], [0, 99]], time: [[]],
  touch: [['k', 'none', 'n']], ttl: [['k'], ['none']], type: [['k'], ['none']],
  unlink: [['k', 'none', 'n']], unwatch: [[]], wait: [[0, 0], [1, 1], [1, -1]],
  waitaof: [[1, 0, 0], [2, 0, 0]], watch: [['k'], []],
  xack: [['x', 'g', '1-0', '9-0'], ['x', 'none', '1-0']],
  xadd: [['x', '4-1', 'd', 4], ['x', '1-1', 'd', 4], ['x', 'MAXLEN', 2, '9-*', 'd', 4],
    ['none', 'NOMKSTREAM', '*', 'd', 4]],
  xautoclaim: [['x', 'g', 'you', 0, '-', 'COUNT', 1], ['x', 'g', 'you', 1e9, '-', 'JUSTID']],
  xclaim: [['x', 'g', 'you', 0, '1-0', '3-0'], ['x', 'g', 'you', 0, '3-0', 'FORCE', 'JUSTID']],
  xdel: [['x', '1-0', '9-0'], ['none', '1-0']],
  'xgroup|create': [['x', 'h', 0], ['x', 'g', 0], ['new', 'g', '$', 'MKSTREAM'], ['none', 'g', 0]],
  'xgroup|createconsumer': [['x', 'g', 'you'], ['x', 'g', 'me']],
  'xgroup|delconsumer': [['x', 'g', 'me'], ['x', 'none', 'me']],
  'xgroup|destroy': [['x', 'g'], ['x', 'none']], 'xgroup|help': [[]],
  'xgroup|setid': [['x', 'g', '1-0'], ['x', 'g', '$', 'ENTRIESREAD', 3]],
  'xinfo|consumers': [['x', 'g']], 'xinfo|groups': [['x'], ['none']], 'xinfo|help': [[]],
  'xinfo|stream': [['x'], ['none']], xlen: [['x'], ['none'], ['k']],
  xpending: [['x', 'g'], ['x', 'none'], ['x', 'g', 'IDLE', 1e9, '-', '+', 9]],
  xrange: [['x', '-', '+'], ['x', '(1-0', '+', 'COUNT', 1], ['none', '-', '+']],
  xread: [['STREAMS', 'x', '1-0'], ['STREAMS', 'x', 'none', '$', 0],
    ['COUNT', 1, 'BLOCK', 1, 'STREAMS', 'x', 0]],
  xreadgroup: [['GROUP', 'g', 'you', 'STREAMS', 'x', '>'],
    ['GROUP', 'g', 'me', 'COUNT', 1, 'STREAMS', 'x', 0],
    ['GROUP', 'g', 'you', 'NOACK', 'STREAMS', 'x', '>']],
  xrevrange: [['x', '+', '-'], ['x', 2, '-', 'COUNT', 1]],
  xsetid: [['x', '9-0'], ['x', '1-0'], ['none', '1-0']],
  xtrim: [['x', 'MAXLEN', 1], ['x', 'MINID', '~', '3-0'], ['x', 'MAXLEN', 'x']],
};

// Commands that end or change the connection: they get one of their own.
const apart = new Set(['quit', 'reset', 'select', 'multi', 'monitor']);

const methods = {};
for (const [name, calls] of Object.entries(lines)) {
  const [command, ...sub] = name.split('|');
  for (const way of [command, `${command}Buffer`]) {
    methods[way === command ? name : `${name} buffer`] = calls.map((args) => async (r) => {
      // Commands that ioredis' list does not have yet go through its general door.
      if (typeof r[way] !== 'function') {
        return r[way === command ? 'call' : 'callBuffer'](command, ...sub, ...args);
      }
      return r[way](...sub, ...args);
    });
  }
}

methods.quit = [async (r, s) => (await s.open()).quit()];
methods.reset = [async (r, s) => (await s.open({ db: 1 })).call('RESET')];
methods.select = [async (r, s) => {
  const other = await s.open({ db: 1 });
  const given = [await other.get('away'), await other.select(0), await other.get('k')];
  return [...given, await outcome(() => other.select(16))];
}];
methods.multi = [
  (r) => r.multi().set('a', 1).incr('a').mget('a', 'none').expire('a', 100).exec(),
  (r) => outcome(() => r.multi().set('a', 1).incr('k').get('a').exec()),
  (r) => outcome(() => r.multi().call('set', 'a').get('k').exec()),
  async (r) => [await r.multi({ pipeline: false }), await r.set('a', 1), await r.get('a'),
    await r.exec()],
  async (r) => [await r.multi({ pipeline: false }), await r.set('k', 1), await r.discard()],
  async (r, s) => {
    const other = await s.open();
    const given = [await r.watch('k'), await other.set('k', 'changed')];
    given.push(await r.multi().set('k', 'lost').exec(), await r.get('k'), await r.watch('k'));
    return [...given, await r.unwatch(), await r.multi().append('k', '!').exec()];
  },
];
methods.pipeline = [async (r) => {
  const all = r.pipeline();
  for (let i = 0; i < 300; i += 1) all.set(`p:${i}`, i);
  return all.incr('k').bitcount('bits').getBuffer('bits').exec();
}];
methods.autoPipelining = [async (r, s) => {
  const other = await s.open({ enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 100 }, (_, i) => other.set(`p:${i}`, i)));
  return Promise.all(Array.from({ length: 100 }, (_, i) => other.get(`p:${i}`)));
}];
methods.scanStream = [async (r) => {
  await r.mset(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, i])));
  const given = [];
  for (const how of [{}, { match: 'scan:1*' }, { count: 7 }, { type: 'hash' }]) {
    const found = [];
    for await (const keys of r.scanStream(how)) found.push(...keys);
    given.push(found.sort());
  }
  return given;
}];
methods.monitor = [async (r, s) => {
  const monitor = await (await s.open()).monitor();
  const seen = [];
  const all = new Promise((resolve) => {
    monitor.on('monitor', (time, args, source, db) => {
      seen.push([args, db]);
      if (args[0] === 'get') resolve();
    });
  });
  const other = await s.open({ db: 1 });
  await other.set('a', 'with "quotes" and \\');
  await other.get('a');
  await all;
  monitor.disconnect();
  return seen.filter(([args]) => ['set', 'get'].includes(args[0]));
}];
methods.reconnect = [async (r, s) => {
  const other = await s.open({ connectionName: 'back', db: 1 });
  const line = await other.client('info');
  const killed = await r.client('kill', 'ID', line.match(/id=(\d+)/)[1]);
  // Asked again by itself on a new connection, in the same database, under the same name.
  return [killed, await other.get('away'), await other.client('getname')];
}];
methods.blocked = [async (r, s) => {
  const given = [];
  for (const mode of ['TIMEOUT', 'ERROR']) {
    const other = await s.open();
    const id = await other.client('id');
    const waits = outcome(() => other.wait(1, 5000));
    let woken = 0;
    for (let turn = 0; turn < 1000 && !woken; turn += 1) woken = await r.client('unblock', id, mode);
    given.push(woken, await waits);
  }
  return given;
}];
methods.password = [async (r, s) => {
  const given = [];
  await r.config('set', 'requirepass', 'secret');
  try {
    for (const more of [{ password: 'secret' }, { username: 'default', password: 'secret' }]) {
      given.push(await outcome(async () => (await s.open(more)).get('k')));
    }
    given.push(await r.auth('secret'), await outcome(() => r.auth('wrong')));
  } finally {
    await r.config('set', 'requirepass', '');
  }
  return given;
}];

function forgotten(known) {
  const containers = new Set([...known].filter((n) => n.includes('|')).map((n) => n.split('|')[0]));
  const ours = new Set(list.map((name) => name.toLowerCase()));
  return [...known].filter((name) => {
    const [command] = name.split('|');
    const covered = name in lines || apart.has(name)
      || (containers.has(command) && name === command);
    return ours.has(command) && !covered;
  }).map((name) => `${name} exists, and has no line`);
}

const sorted = (v) => v.map(String).sort();

/** The first line and the last two of a help text. */
const ends = (v) => [v[0], ...v.slice(-2)].map(String);

/** What is told of each command both have, but for flags and categories, which 7.2 changed. */
function described(got, want) {
  const both = new Set(got.map((of) => String(of?.[0])));
  const has = new Set(want.map((of) => String(of?.[0])).filter((name) => both.has(name)));
  return [got, want].map((all) => all.filter((of) => of && has.has(String(of[0])))
    // 7.2 gave ZRANK and ZREVRANK an option.
    .map((of) => [String(of[0]), /^z(rev)?rank$/.test(of[0]) ? 0 : of[1], ...of.slice(3, 6)])
    .sort());
}

/** Text of CLIENT INFO: the names of its fields, and values that are no measure. */
function line(v) {
  const words = String(v).trim().split(' ').filter((word) => !word.startsWith('lib-'));
  return [names(words.join(' ')), words.filter((w) => /^(db|flags|cmd|resp|user|multi)=/.test(w))];
}

/** Documentation without what 7.2 added to each argument. */
const undisplayed = (v) => JSON.stringify(v, (_, inner) => {
  if (!Array.isArray(inner)) return inner?.type === 'Buffer' ? String(Buffer.from(inner)) : inner;
  const at = inner.findIndex((one) => String(one) === 'display_text');
  return at < 0 ? inner : [...inner.slice(0, at), ...inner.slice(at + 2)];
});

const both = {
  'acl|cat#1': [sorted, 'no order is promised'],
  'acl|help': [ends, 'the help names the subcommands that exist'],
  'client|help': [ends, '7.2 has more to help with'],
  'client|id': [kind, 'a number of its own'],
  'client|info': [line, 'addresses, clocks, buffers, and fields 7.2 added'],
  'cluster|help': [ends, '7.2 has more to help with'],
  'command|count': [kind, 'commands of later issues are missing'],
  'command|docs': [undisplayed, '7.2 shows names of arguments'],
  'config|get': [(v) => sorted(v), 'no order is promised'],
  'command|list': [sorted, 'no order is promised'],
  keys: [sorted, 'no order is promised'],
  'latency|doctor': [kind, "each program's own words"],
  'latency|histogram': [(v) => sorted(fields(v)), 'measured times'],
  lastsave: [kind, 'a clock'],
  lolwut: [kind, "each program's own picture"],
  'memory|doctor': [kind, "each program's own words"],
  'memory|malloc-stats': [kind, "each allocator's own words"],
  'memory|stats': [(v) => fields(v).filter((n) => !/^db\./.test(n)), "each engine's own count"],
  'memory|usage': [kind, "each engine's own count"],
  'module|help': [ends, 'the help names the subcommands that exist'],
  'object|idletime': [kind, 'a clock'],
  randomkey: [kind, 'random'],
  'scan#0': [(v) => v.map(kind), 'no order is promised, and a page may end anywhere: see scanStream'],
  'slowlog|len': [kind, 'calls may be slow'],
  time: [(v) => v.map(kind), 'a clock'],
  'xgroup|help': [ends, '7.2 has more to help with'],
  'xinfo|consumers': [(v) => v.length, 'clocks, and a field that 7.2 added'],
};
const paired = {
  command: [described, 'commands of later issues are missing'],
  info: [allOf(names), "values are each server's own"],
};
const FLAGS = ['on', 'nopass', 'sanitize-payload'];
const NEW = {
  'acl|getuser#0': [['flags', FLAGS, 'passwords', [], 'commands', '+@all', 'keys', '~*', 'channels',
    '&*', 'selectors', []], '7.2 names the flag'],
  'acl|list#0': [['user default on nopass sanitize-payload ~* &* +@all'], '7.2 names the flag'],
  'client|no-touch#0': ['OK', 'new in 7.2'],
  'client|no-touch#1': [new Raised('SimpleError: ERR syntax error'), 'new in 7.2'],
  'client|setinfo#0': ['OK', 'new in 7.2'],
  'client|setinfo#1': [new Raised("SimpleError: ERR Unrecognized option 'odd'"), 'new in 7.2'],
  'cluster|myshardid#0': [
    new Raised('SimpleError: ERR This instance has cluster support disabled'), 'new in 7.2'],
  'delex#0': [1, 'new in 8.4'],
  'delex#1': [0, 'new in 8.4'],
  'delex#2': [1, 'new in 8.4'],
  'digest#0': ['87d57e269b9df0f0', 'new in 8.4'],
  'digest#1': [null, 'new in 8.4'],
  'hexpire#0': [[1, -2], 'new in 7.4'],
  'hexpire#1': [[2], 'new in 7.4'],
  'hexpireat#0': [[0], 'new in 7.4'],
  'hexpiretime#0': [[-1, -2], 'new in 7.4'],
  'hgetdel#0': [['1', null], 'new in 8.0'],
  'hgetex#0': [['1', null], 'new in 8.0'],
  'hgetex#1': [['two'], 'new in 8.0'],
  'hpersist#0': [[-1, -2], 'new in 7.4'],
  'hpexpire#0': [[1], 'new in 7.4'],
  'hpexpireat#0': [[1, 1], 'new in 7.4'],
  'hpexpiretime#0': [[-1, -2], 'new in 7.4'],
  'hpttl#0': [[-1, -2], 'new in 7.4'],
  'hsetex#0': [1, 'new in 8.0'],
  'hsetex#1': [1, 'new in 8.0'],
  'httl#0': [[-1, -2], 'new in 7.4'],
  'msetex#0': [1, 'new in 8.4'],
  'delifeq#0': [1, 'new in Valkey 9.0'],
  'delifeq#1': [0, 'new in Valkey 9.0'],
  'waitaof#0': [[1, 0], 'new in 7.2'],
  'waitaof#1': [new Raised('SimpleError: ERR value is out of range, must be between 0 and 1'),
    'new in 7.2'],
};

/** The same for the ways that give buffers. */
function doubled(table, value = (v) => v) {
  const all = { ...table };
  for (const [label, entry] of Object.entries(table)) {
    const [name, number] = label.split('#');
    all[number ? `${name} buffer#${number}` : `${name} buffer`] = value(entry);
  }
  return all;
}

const buffers = (v) => {
  if (Array.isArray(v)) return v.map(buffers);
  return typeof v === 'string' ? Buffer.from(v) : v;
};

main({ name: `ioredis ${version}`, methods, loose: doubled(both), pairs: doubled(paired),
  contract: doubled(NEW, ([want, why]) => [buffers(want), why]), open, forgotten,
  close: (client) => client.disconnect() });
