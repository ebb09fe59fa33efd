//! What modules wrote into an RDB file: passed over part by part, or refused. The layout stands in
//! [`super::format`].

use crate::persist::rdb::decode::{Modules, Problem, Reader, shown};
use crate::persist::rdb::format::*;
use crate::value::recency::Usage;

impl Reader<'_> {
    /// A key whose value is a module's.
    pub(super) fn module_entry(&mut self) -> Result<(), Problem> {
        let expire_ms = self.expire_ms.take();
        self.read_key()?;
        let name = module_name(self.length()?);
        if self.options.modules == Modules::Refuse {
            let kind = format!("value of module {name}");
            return Err(Problem::Type { kind, key: shown(&self.key) });
        }
        self.module_parts()?;
        self.loaded.module_values += 1;
        let shown = self.visit_module(&name, expire_ms);
        // It is said of this key, not of the next.
        self.usage = Usage::default();
        shown
    }

    /// What a module keeps beside the keys: its id, when it is to be loaded, and parts.
    pub(super) fn module_aux(&mut self) -> Result<(), Problem> {
        let name = module_name(self.length()?);
        if self.options.modules == Modules::Refuse {
            return Err(Problem::Module(name));
        }
        if self.length()? != MODULE_UINT {
            return Err(Problem::ModuleParts(name));
        }
        self.length()?;
        self.module_parts()?;
        self.loaded.module_aux += 1;
        Ok(())
    }

    fn module_parts(&mut self) -> Result<(), Problem> {
        loop {
            match self.length()? {
                MODULE_EOF => return Ok(()),
                MODULE_SINT | MODULE_UINT => drop(self.length()?),
                MODULE_FLOAT => self.source.skip(4)?,
                MODULE_DOUBLE => self.source.skip(8)?,
                MODULE_STRING => {
                    let head = self.string_head()?;
                    self.pass_over(head)?;
                }
                other => return Err(Problem::ModuleParts(format!("part {other}"))),
            }
        }
    }
}
