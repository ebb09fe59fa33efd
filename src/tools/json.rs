//! JSON as the tools write it.
//!
//! Keys and values are bytes, JSON has only text. So bytes that are valid UTF-8 become a JSON
//! string, and any others an object: `{"base64":"…"}` with the standard alphabet and padding. A
//! string can therefore be read back byte for byte. Text longer than [`TEXT_MAX`] is always in
//! base64, since it is written as it is read.

use std::io::{self, Write};

/// Longest text that may become a JSON string, in bytes.
pub const TEXT_MAX: u64 = 1 << 20;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as the file's opening says.
pub fn bytes(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() as u64 <= TEXT_MAX => string(out, text),
        _ => {
            let mut coder = Base64::begin(out)?;
            coder.feed(out, bytes)?;
            coder.end(out)
        }
    }
}

/// Writes text as a JSON string.
pub fn string(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 | 0x7F => b"",
            _ => continue,
        };
        out.write_all(&text.as_bytes()[plain..at])?;
        plain = at + 1;
        match escape {
            b"" => write!(out, "\\u{byte:04x}")?,
            escape => out.write_all(escape)?,
        }
    }
    out.write_all(&text.as_bytes()[plain..])?;
    out.write_all(b"\"")
}

/// Writes an object with bytes in base64, as they come.
pub struct Base64 {
    /// What does not make three yet.
    rest: Vec<u8>,
}

impl Base64 {
    /// Begins the object.
    pub fn begin(out: &mut dyn Write) -> io::Result<Base64> {
        out.write_all(b"{\"base64\":\"")?;
        Ok(Base64 { rest: Vec::with_capacity(3) })
    }

    /// Writes more bytes.
    pub fn feed(&mut self, out: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
        if !self.rest.is_empty() {
            let some = bytes.len().min(3 - self.rest.len());
            self.rest.extend_from_slice(&bytes[..some]);
            bytes = &bytes[some..];
            if self.rest.len() < 3 {
                return Ok(());
            }
            out.write_all(&four(&self.rest))?;
            self.rest.clear();
        }
        let mut threes = bytes.chunks_exact(3);
        for three in &mut threes {
            out.write_all(&four(three))?;
        }
        self.rest.extend_from_slice(threes.remainder());
        Ok(())
    }

    /// Ends the object.
    pub fn end(self, out: &mut dyn Write) -> io::Result<()> {
        if !self.rest.is_empty() {
            out.write_all(&four(&self.rest))?;
        }
        out.write_all(b"\"}")
    }
}

/// Four characters for up to three bytes.
fn four(bytes: &[u8]) -> [u8; 4] {
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
    let word = byte(0) << 16 | byte(1) << 8 | byte(2);
    let mut text = [b'='; 4];
    for (at, letter) in text.iter_mut().enumerate().take(bytes.len() + 1) {
        *letter = ALPHABET[(word >> (18 - 6 * at)) as usize & 63];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8]) -> String {
        let mut out = Vec::new();
        bytes(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_and_bytes() {
        assert_eq!(shown(b""), "\"\"");
        assert_eq!(
            shown("a \"b\"\\\n\r\t\x01\x7f é".as_bytes()),
            r#""a \"b\"\\\n\r\t\u0001\u007f é""#
        );
        for (bytes, coded) in [
            (&b"\xff"[..], "/w=="),
            (b"\xff\xfe", "//4="),
            (b"\xff\xfe\xfd", "//79"),
            (b"\x80foobar", "gGZvb2Jhcg=="),
        ] {
            assert_eq!(shown(bytes), format!("{{\"base64\":\"{coded}\"}}"));
        }
        let long = vec![b'x'; TEXT_MAX as usize + 1];
        assert!(shown(&long).starts_with("{\"base64\":\"eHh4"));
        assert!(shown(&long[1..]).starts_with("\"xxx"));
    }

    #[test]
    fn base64_comes_in_parts() {
        let whole: Vec<u8> = (0..=255).collect();
        for part in 1..20 {
            let mut out = Vec::new();
            let mut coder = Base64::begin(&mut out).unwrap();
            for part in whole.chunks(part) {
                coder.feed(&mut out, part).unwrap();
            }
            coder.end(&mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), shown(&whole));
        }
    }
}
