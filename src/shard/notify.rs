//! The door for keyspace events: whatever is recorded in a keyspace while something is executed
//! comes out here, in order, and is forgotten there.
//!
//! It is opened at the end of every execution ([`Surroundings::run`]), before a keyspace leaves for
//! a lease or goes home from it, and once a turn for what was removed outside of commands (active
//! expiry, the keys that WATCH looks up): so what a keyspace holds is bounded by one command or one
//! turn's upkeep, and a keyspace never travels with events in it.
//!
//! *What publishing has to keep*: an event tells of a write, so it may not leave the shard before
//! the release point has passed the end of the write's effects (`Effects::end` of each keyspace at
//! hand when the door is opened), like the reply to a read of that key. Parts of one command that
//! several shards execute each by themselves (DEL, MSET) leave events whose order among shards is
//! not defined; a lease's events are in the order in which they happened.

use crate::command::Spaces;
use crate::keyspace::events::Event;
use crate::shard::core::Shard;
use crate::shard::execute::Surroundings;

impl Surroundings<'_> {
    /// Hands on what has been recorded in the keyspaces at hand.
    #[inline]
    pub fn tell_events(&mut self, spaces: &mut Spaces<'_>) {
        if let Spaces::One(space) = spaces
            && space.events.is_empty()
        {
            return;
        }
        let mut events = Vec::new();
        spaces.take_events(&mut events);
        publish(events);
    }
}

impl Shard {
    /// Hands on what has been recorded outside of commands.
    pub(super) fn tell_rest(&mut self) {
        let Some(mut space) = self.space.take_if(|space| !space.events.is_empty()) else { return };
        self.around().tell_events(&mut Spaces::One(&mut space));
        self.space = Some(space);
    }
}

/// Where the channels begin. Until there are any nobody listens, and events end here.
fn publish(events: Vec<Event>) {
    #[cfg(test)]
    tests::hear(&events);
    drop(events);
}

#[cfg(test)]
pub mod tests {
    //! What came out of the door on this thread.

    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    }

    /// Begins to listen, and gives what was heard since the last call: database, event, key.
    pub fn heard() -> Vec<String> {
        HEARD.replace(Some(Vec::new())).unwrap_or_default()
    }

    pub(super) fn hear(events: &[Event]) {
        let told = |e: &Event| format!("{} {} {}", e.db, e.name, String::from_utf8_lossy(&e.key));
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                heard.extend(events.iter().map(told));
            }
        });
    }
}
