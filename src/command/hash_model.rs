//! Hashes whose fields end, against a plain model and a clock that moves on.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::command::harness::{START_MS, World};

/// Value and time of every field that can be seen.
type Model = BTreeMap<String, (String, Option<i64>)>;

/// A condition of HPEXPIRE.
fn allows(condition: &str, when: i64, current: Option<i64>) -> bool {
    match condition {
        " NX" => current.is_none(),
        " XX" => current.is_some(),
        " GT" => current.is_some_and(|at| when > at),
        " LT" => current.is_none_or(|at| when < at),
        _ => true,
    }
}

/// Lets a field of the model end; what HPEXPIRE answers.
fn end(model: &mut Model, field: &str, when: i64, now: i64, condition: &str) -> i64 {
    match model.get_mut(field) {
        None => -2,
        Some((_, current)) if !allows(condition, when, *current) => 0,
        Some(_) if when <= now => {
            model.remove(field);
            2
        }
        Some((_, current)) => {
            *current = Some(when);
            1
        }
    }
}

fn bulk(value: Option<&(String, Option<i64>)>) -> String {
    value.map_or("$-1".to_owned(), |(value, _)| format!("${} {value}", value.len()))
}

/// Numbers that a request is made of: which, two fields, a time, a value.
type Numbers = (u8, u8, u8, i64, u8);

/// Sets a field of the model; 1 when it is new.
fn put(model: &mut Model, field: &str, value: &str, at: Option<i64>) -> i64 {
    i64::from(model.insert(field.to_owned(), (value.to_owned(), at)).is_none())
}

/// A request, and the reply that the model says it has.
fn step(model: &mut Model, now: i64, numbers: Numbers) -> (String, String) {
    let (what, f, g, ms, n) = numbers;
    let (f, g, value) = (format!("f{f}"), format!("f{g}"), n.to_string());
    match what {
        0 => {
            let added = put(model, &f, &value, None) + put(model, &g, &value, None);
            (format!("HSET h {f} {n} {g} {n}"), format!(":{added}"))
        }
        1 => {
            let condition = ["", " NX", " XX", " GT", " LT"][usize::from(n) % 5];
            let found = [&f, &g].map(|field| end(model, field, now + ms, now, condition));
            let request = format!("HPEXPIRE h {ms}{condition} FIELDS 2 {f} {g}");
            (request, format!("*2 :{} :{}", found[0], found[1]))
        }
        2 => {
            let reply = format!("*2 {} {}", bulk(model.get(&f)), bulk(model.get(&g)));
            (format!("HMGET h {f} {g}"), reply)
        }
        3 => {
            let first = bulk(model.remove(&f).as_ref());
            let second = bulk(model.remove(&g).as_ref());
            (format!("HGETDEL h FIELDS 2 {f} {g}"), format!("*2 {first} {second}"))
        }
        4 => {
            let gone = [&f, &g].into_iter().filter(|field| model.remove(*field).is_some()).count();
            (format!("HDEL h {f} {g}"), format!(":{gone}"))
        }
        5 => {
            let (value, _) = model.entry(f.clone()).or_insert(("0".to_owned(), None));
            *value = (value.parse::<i64>().unwrap() + i64::from(n)).to_string();
            (format!("HINCRBY h {f} {n}"), format!(":{value}"))
        }
        6 => {
            let left = |field| match model.get(field) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(at))) => at - now,
            };
            (format!("HPTTL h FIELDS 2 {f} {g}"), format!("*2 :{} :{}", left(&f), left(&g)))
        }
        7 => {
            let outcome = match model.get_mut(&f) {
                None => -2,
                Some((_, time)) => time.take().map_or(-1, |_| 1),
            };
            (format!("HPERSIST h FIELDS 1 {f}"), format!("*1 :{outcome}"))
        }
        8 => (format!("HEXISTS h {f}"), format!(":{}", i64::from(model.contains_key(&f)))),
        _ => timed_step(model, now, numbers),
    }
}

/// [`step`] of HGETEX and HSETEX.
fn timed_step(model: &mut Model, now: i64, numbers: Numbers) -> (String, String) {
    let (what, f, _, ms, n) = numbers;
    let (f, value, when) = (format!("f{f}"), n.to_string(), now + ms);
    let (request, reply, at) = if what == 9 {
        let (reply, at) = (bulk(model.get(&f)), Some(when).filter(|_| n % 2 == 0));
        if let Some((_, time)) = model.get_mut(&f) {
            *time = at;
        }
        let words = at.map_or("PERSIST".to_owned(), |at| format!("PXAT {at}"));
        (format!("HGETEX h {words} FIELDS 1 {f}"), format!("*1 {reply}"), at)
    } else {
        let old = model.get(&f).and_then(|(_, at)| *at);
        let (words, at) = match n % 3 {
            0 => ("KEEPTTL".to_owned(), old),
            1 => (format!("PX {ms}"), Some(when)),
            _ => ("FNX".to_owned(), None),
        };
        let request = format!("HSETEX h {words} FIELDS 1 {f} {n}");
        if n % 3 == 2 && model.contains_key(&f) {
            return (request, ":0".to_owned());
        }
        put(model, &f, &value, at);
        (request, ":1".to_owned(), at.filter(|_| n % 3 == 1))
    };
    if at.is_some_and(|at| at <= now) {
        model.remove(&f);
    }
    (request, reply)
}

/// The words of a flat reply of bulk strings, sorted by pairs or one by one.
fn words(reply: &str, each: usize) -> Vec<Vec<String>> {
    let words: Vec<&str> = reply.split(' ').filter(|word| !word.starts_with(['*', '$'])).collect();
    let mut all: Vec<Vec<String>> =
        words.chunks(each).map(|some| some.iter().map(ToString::to_string).collect()).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn fields_end_as_the_model_says(
        steps in prop::collection::vec(
            ((0_u8..11, 0_u8..8, 0_u8..8, 0_i64..40, 0_u8..100), 0_i64..12, any::<bool>()),
            1..120,
        ),
        entries in 1_usize..12,
    ) {
        let (mut world, mut model) = (World::new(), Model::new());
        let mut copy = World::new();
        world.shapes.hash_entries = entries;
        for (what, pass, sweeps) in steps {
            world.now_ms += pass;
            let now = world.now_ms;
            model.retain(|_, (_, at)| at.is_none_or(|at| at >= now));
            if sweeps {
                world.spaces[0].as_mut().unwrap().active_expire(now, 5);
            }
            let (request, reply) = step(&mut model, now, what);
            prop_assert_eq!(world.run(&request), reply, "{} at {}", request, now - START_MS);
            let shown: Vec<Vec<String>> =
                model.iter().map(|(name, (value, _))| vec![name.clone(), value.clone()]).collect();
            prop_assert_eq!(words(&world.run("HGETALL h"), 2), shown.clone());
            let names: Vec<Vec<String>> = shown.iter().map(|pair| vec![pair[0].clone()]).collect();
            prop_assert_eq!(words(&world.run("HKEYS h"), 1), names.clone());
            let mut scanned = words(&world.run("HSCAN h 0 COUNT 1000 NOVALUES"), 1);
            scanned.retain(|name| name[0] != "0");
            prop_assert_eq!(scanned, names.clone());
            let drawn = words(&world.run("HRANDFIELD h 100"), 1);
            prop_assert_eq!(drawn, names.clone());
            let one = words(&world.run("HRANDFIELD h -5"), 1);
            prop_assert_eq!(one.len(), 5 * usize::from(!names.is_empty()));
            prop_assert!(one.iter().all(|name| names.contains(name)));
            // The log tells the same, whenever it is replayed.
            let effects = world.take_effects();
            copy.replay(&effects);
            prop_assert_eq!(world.contents(), copy.contents(), "after {}", request);
        }
    }
}
