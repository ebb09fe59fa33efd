//! The names a `redis.conf` may speak of: `rename-command` of a command that is not there yet is no
//! mistake, and one of a name that Redis does not know is.

use crate::command::table;

/// Every command of Redis 7.2, in the order of the alphabet.
const REDIS: &str = "\
acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove \
blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client cluster command config copy dbsize \
debug decr decrby del discard dump echo eval eval_ro evalsha evalsha_ro exec exists expire \
expireat expiretime failover fcall fcall_ro flushall flushdb function geoadd geodist geohash \
geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore \
get getbit getdel getex getrange getset hdel hello hexists hget hgetall hincrby hincrbyfloat \
hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat info \
keys lastsave latency lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange \
lrem lset ltrim memory mget migrate module monitor move mset msetnx multi object persist pexpire \
pexpireat pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex psubscribe psync pttl \
publish pubsub punsubscribe quit randomkey readonly readwrite rename renamenx replconf replicaof \
reset restore restore-asking role rpop rpoplpush rpush rpushx sadd save scan scard script sdiff \
sdiffstore select set setbit setex setnx setrange shutdown sinter sintercard sinterstore \
sismember slaveof slowlog smembers smismember smove sort sort_ro spop spublish srandmember srem \
sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe swapdb sync time touch \
ttl type unlink unsubscribe unwatch wait waitaof watch xack xadd xautoclaim xclaim xdel xgroup \
xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd zcard zcount zdiff \
zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin \
zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex \
zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore \
zunion zunionstore";

/// What is here of later versions of Redis, and of Valkey.
#[cfg(test)]
const LATER: &str = "\
backup delex delifeq digest hexpire hexpireat hexpiretime hgetdel hgetex hpersist hpexpire \
hpexpireat hpexpiretime hpttl hsetex httl msetex";

/// Whether a command of Redis has this name, be it here or not; ASCII case folded.
pub fn is_known(name: &[u8]) -> bool {
    table::find(name).is_some()
        || REDIS.split(' ').any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_listed() {
        for command in table::all() {
            let mut names = REDIS.split(' ').chain(LATER.split(' '));
            assert!(names.any(|name| name == command.name), "{}", command.name);
        }
        assert!(LATER.split(' ').all(|name| is_known(name.as_bytes())));
        assert!(is_known(b"EvalSha") && is_known(b"GET"));
        assert!(!is_known(b"evalshaa") && !is_known(b"") && !is_known(b"eval evalsha"));
    }
}
