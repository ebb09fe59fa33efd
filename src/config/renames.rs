//! `rename-command`: the names by which commands answer.
//!
//! A command keeps its own name in the table, in the log and in statistics; only what clients call
//! it changes. An empty new name takes it away from them.

/// What a word that a client sends as a command's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// Nothing is renamed to it or from it.
    Itself,
    /// The name of a command that was taken away or answers to another name.
    Nothing,
    /// The new name of this command.
    Command(&'a str),
}

/// All `rename-command` lines together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// A command's own name and the one it answers to, both in lower case.
    pairs: Vec<(String, Vec<u8>)>,
}

impl Renames {
    /// Whether every command has its own name.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What `word` stands for.
    pub fn resolve(&self, word: &[u8]) -> Named<'_> {
        if let Some((own, _)) =
            self.pairs.iter().find(|(_, new)| !new.is_empty() && new.eq_ignore_ascii_case(word))
        {
            return Named::Command(own);
        }
        match self.pairs.iter().any(|(own, _)| own.as_bytes().eq_ignore_ascii_case(word)) {
            true => Named::Nothing,
            false => Named::Itself,
        }
    }

    /// Takes in one line. `exists` knows the names of all commands.
    pub fn add(
        &mut self,
        name: &[u8],
        new: &[u8],
        exists: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), &'static str> {
        let own = match self.resolve(name) {
            Named::Command(own) => own.to_owned(),
            Named::Itself if exists(name) => String::from_utf8_lossy(name).to_ascii_lowercase(),
            _ => return Err("No such command in rename-command"),
        };
        let taken = match self.resolve(new) {
            Named::Command(_) => true,
            Named::Nothing => false,
            Named::Itself => exists(new),
        };
        if taken && !new.is_empty() {
            return Err("Target command name already exists");
        }
        self.pairs.retain(|(other, _)| *other != own);
        self.pairs.push((own, new.to_ascii_lowercase()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_and_vanish() {
        let exists = |name: &[u8]| {
            [&b"get"[..], b"set", b"config"].iter().any(|n| n.eq_ignore_ascii_case(name))
        };
        let mut names = Renames::default();
        assert!(names.is_empty());
        let mut add = |name: &str, new: &str| names.add(name.as_bytes(), new.as_bytes(), &exists);
        assert_eq!(add("CONFIG", "Secret"), Ok(()));
        assert_eq!(add("set", ""), Ok(()));
        assert_eq!(add("config", "x"), Err("No such command in rename-command"));
        assert_eq!(add("nosuch", "x"), Err("No such command in rename-command"));
        assert_eq!(add("get", "secret"), Err("Target command name already exists"));
        assert_eq!(add("secret", "GET"), Err("Target command name already exists"));
        assert_eq!(add("secret", "set"), Ok(()));
        assert_eq!(names.resolve(b"SET"), Named::Command("config"));
        assert_eq!(names.resolve(b"Config"), Named::Nothing);
        assert_eq!(names.resolve(b"secret"), Named::Itself);
        assert_eq!(names.resolve(b"get"), Named::Itself);
        assert_eq!(names.resolve(b""), Named::Itself);
    }
}
