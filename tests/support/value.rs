//! Replies taken apart. Two replies whose values are equal had the same types on the wire: `$-1`,
//! `*-1` and `_` are three values, `+OK` and `$2 OK` are two.

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `+`
    Simple(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `*`
    Array(Vec<Value>),
    /// `%`, keys and values in turn.
    Map(Vec<Value>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `#`
    Bool(bool),
    /// `,`, `(`: the text after the type.
    Number(u8, Vec<u8>),
    /// `=`
    Verbatim(Vec<u8>),
}

impl Value {
    /// The elements of an array, set, push or map.
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Value::Array(v) | Value::Map(v) | Value::Set(v) | Value::Push(v) => Some(v),
            _ => None,
        }
    }

    /// The text of a bulk, simple or verbatim string.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Bulk(b) | Value::Simple(b) | Value::Verbatim(b) => Some(b),
            _ => None,
        }
    }

    /// The integer of an integer reply.
    pub fn int(&self) -> Option<i64> {
        if let Value::Int(n) = self { Some(*n) } else { None }
    }

    /// True for the three absent values.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullBulk | Value::NullArray)
    }

    /// True for an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

/// Parses one reply from the front of `bytes`: the value and its length, `None` when more bytes are
/// needed, an error when they are not RESP.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let Some(end) = find_crlf(bytes) else { return Ok(None) };
    let (line, body) = (&bytes[1..end], end + 2);
    let number = || {
        std::str::from_utf8(line)
            .ok()
            .and_then(|s| s.parse::<i64>().ok())
            .ok_or_else(|| format!("bad number in reply header {:?}", super::show(&bytes[..end])))
    };
    let value = match bytes[0] {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Int(number()?),
        b'_' => Value::Null,
        b'#' => Value::Bool(line == b"t"),
        b',' | b'(' => Value::Number(bytes[0], line.to_vec()),
        b'$' | b'=' => return bulk(bytes, body, number()?),
        b'*' | b'%' | b'~' | b'>' => return aggregate(bytes, body, number()?),
        _ => return Err(format!("not a reply: {}", super::show(bytes))),
    };
    Ok(Some((value, body)))
}

fn find_crlf(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n").filter(|&at| at > 0)
}

fn bulk(bytes: &[u8], body: usize, len: i64) -> Result<Option<(Value, usize)>, String> {
    if len == -1 && bytes[0] == b'$' {
        return Ok(Some((Value::NullBulk, body)));
    }
    let len = usize::try_from(len).map_err(|_| format!("bulk of length {len}"))?;
    let Some(rest) = bytes.get(body..body + len + 2) else { return Ok(None) };
    if &rest[len..] != b"\r\n" {
        return Err(format!("bulk without its end: {}", super::show(bytes)));
    }
    let text = rest[..len].to_vec();
    let value = if bytes[0] == b'$' { Value::Bulk(text) } else { Value::Verbatim(text) };
    Ok(Some((value, body + len + 2)))
}

fn aggregate(bytes: &[u8], body: usize, len: i64) -> Result<Option<(Value, usize)>, String> {
    if len == -1 && bytes[0] == b'*' {
        return Ok(Some((Value::NullArray, body)));
    }
    let len = usize::try_from(len).map_err(|_| format!("array of length {len}"))?;
    let count = if bytes[0] == b'%' { 2 * len } else { len };
    let (mut items, mut at) = (Vec::with_capacity(count.min(4096)), body);
    for _ in 0..count {
        let Some((item, used)) = parse(&bytes[at..])? else { return Ok(None) };
        items.push(item);
        at += used;
    }
    let value = match bytes[0] {
        b'*' => Value::Array(items),
        b'%' => Value::Map(items),
        b'~' => Value::Set(items),
        _ => Value::Push(items),
    };
    Ok(Some((value, at)))
}
