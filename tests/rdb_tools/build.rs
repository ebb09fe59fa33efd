//! RDB files built from the descriptions of the format, older encodings among them. Nothing here
//! knows the code under test.

/// A file in the making.
pub struct File {
    /// Its bytes so far.
    pub bytes: Vec<u8>,
    version: u32,
}

/// CRC-64 as Redis has it, bit by bit.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = 0u64;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x95AC_9329_AC4B_C9B5 } else { crc >> 1 };
        }
    }
    crc
}

/// A length in the shortest form.
pub fn length(n: u64) -> Vec<u8> {
    match n {
        0..64 => vec![n as u8],
        64..16384 => vec![0x40 | (n >> 8) as u8, n as u8],
        _ if n <= u64::from(u32::MAX) => [&[0x80][..], &(n as u32).to_be_bytes()].concat(),
        _ => [&[0x81][..], &n.to_be_bytes()].concat(),
    }
}

/// A string as it is.
pub fn string(text: &[u8]) -> Vec<u8> {
    [length(text.len() as u64), text.to_vec()].concat()
}

/// A byte, often, compressed: once as it is, the rest as references to the byte before.
pub fn repeated(byte: u8, times: usize) -> Vec<u8> {
    let mut packed = vec![0, byte];
    let mut left = times - 1;
    while left > 0 {
        let some = match left {
            0..=264 => left,
            265..=266 => left - 3,
            _ => 264,
        };
        assert!(some >= 3, "what is left must be long enough for a reference");
        match some - 2 {
            short @ 0..7 => packed.extend([(short as u8) << 5, 0]),
            long => packed.extend([7 << 5, (long - 7) as u8, 0]),
        }
        left -= some;
    }
    [vec![0xC3], length(packed.len() as u64), length(times as u64), packed].concat()
}

fn integer(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
}

/// A ziplist.
pub fn ziplist(items: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut before, mut last) = (Vec::new(), 0usize, 10);
    for item in items {
        last = 10 + body.len();
        let start = body.len();
        match before {
            0..254 => body.push(before as u8),
            _ => body.extend([&[254][..], &(before as u32).to_le_bytes()].concat()),
        }
        let len = item.len();
        match integer(item) {
            Some(n @ 0..=12) => body.push(0xF1 + n as u8),
            Some(n) if i8::try_from(n).is_ok() => body.extend([0xFE, n as u8]),
            Some(n) if i16::try_from(n).is_ok() => {
                body.extend([&[0xC0][..], &(n as i16).to_le_bytes()].concat());
            }
            Some(n) if (-(1 << 23)..1 << 23).contains(&n) => {
                body.extend([&[0xF0][..], &(n as i32).to_le_bytes()[..3]].concat());
            }
            Some(n) if i32::try_from(n).is_ok() => {
                body.extend([&[0xD0][..], &(n as i32).to_le_bytes()].concat());
            }
            Some(n) => body.extend([&[0xE0][..], &n.to_le_bytes()].concat()),
            None if len < 64 => body.extend([&[len as u8][..], item].concat()),
            None if len < 16384 => {
                body.extend([&[0x40 | (len >> 8) as u8, len as u8][..], item].concat());
            }
            None => body.extend([&[0x80][..], &(len as u32).to_be_bytes(), item].concat()),
        }
        before = body.len() - start;
    }
    let total = (10 + body.len() + 1) as u32;
    let head = [&total.to_le_bytes()[..], &(last as u32).to_le_bytes()].concat();
    [head, (items.len() as u16).to_le_bytes().to_vec(), body, vec![0xFF]].concat()
}

/// A listpack.
pub fn listpack(items: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for item in items {
        let start = body.len();
        let len = item.len();
        match integer(item) {
            Some(n @ 0..=127) => body.push(n as u8),
            Some(n @ -4096..=4095) => {
                let n = n as u16 & 0x1FFF;
                body.extend([0xC0 | (n >> 8) as u8, n as u8]);
            }
            Some(n) if i16::try_from(n).is_ok() => {
                body.extend([&[0xF1][..], &(n as i16).to_le_bytes()].concat());
            }
            Some(n) if (-(1 << 23)..1 << 23).contains(&n) => {
                body.extend([&[0xF2][..], &(n as i32).to_le_bytes()[..3]].concat());
            }
            Some(n) if i32::try_from(n).is_ok() => {
                body.extend([&[0xF3][..], &(n as i32).to_le_bytes()].concat());
            }
            Some(n) => body.extend([&[0xF4][..], &n.to_le_bytes()].concat()),
            None if len < 64 => body.extend([&[0x80 | len as u8][..], item].concat()),
            None if len < 4096 => {
                body.extend([&[0xE0 | (len >> 8) as u8, len as u8][..], item].concat());
            }
            None => body.extend([&[0xF0][..], &(len as u32).to_le_bytes(), item].concat()),
        }
        let took = body.len() - start;
        match took {
            0..128 => body.push(took as u8),
            128..16383 => body.extend([(took >> 7) as u8, took as u8 & 127 | 128]),
            _ => body.extend([(took >> 14) as u8, (took >> 7) as u8 & 127 | 128, took as u8 | 128]),
        }
    }
    let total = (6 + body.len() + 1) as u32;
    let head = [&total.to_le_bytes()[..], &(items.len() as u16).to_le_bytes()].concat();
    [head, body, vec![0xFF]].concat()
}

/// A zipmap; behind every second value are unused bytes.
pub fn zipmap(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let head = |len: usize| match len {
        0..254 => vec![len as u8],
        _ => [&[254][..], &(len as u32).to_le_bytes()].concat(),
    };
    let mut map = vec![pairs.len().min(254) as u8];
    for (at, (field, value)) in pairs.iter().enumerate() {
        let unused = at % 2 * 3;
        map.extend([head(field.len()), field.clone(), head(value.len())].concat());
        map.push(unused as u8);
        map.extend_from_slice(value);
        map.extend(vec![0; unused]);
    }
    map.push(0xFF);
    map
}

/// An intset of members so many bytes wide, in order.
pub fn intset(width: usize, members: &[i64]) -> Vec<u8> {
    let head = [(width as u32).to_le_bytes(), (members.len() as u32).to_le_bytes()].concat();
    members.iter().fold(head, |set, n| [&set[..], &n.to_le_bytes()[..width]].concat())
}

/// Texts, for the packed forms.
pub fn texts(items: &[&str]) -> Vec<Vec<u8>> {
    items.iter().map(|item| item.as_bytes().to_vec()).collect()
}

impl File {
    /// A file of Redis' of this version.
    pub fn new(version: u32) -> File {
        File { bytes: format!("REDIS{version:04}").into_bytes(), version }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut File {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A value of this type, whose body is given.
    pub fn value(&mut self, kind: u8, key: &str, body: &[u8]) -> &mut File {
        self.raw(&[kind]).raw(&string(key.as_bytes())).raw(body)
    }

    /// The file, with its end.
    pub fn end(&mut self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.push(0xFF);
        if self.version >= 5 {
            bytes.extend(crc64(&bytes).to_le_bytes());
        }
        bytes
    }
}
