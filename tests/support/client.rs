//! A small client: bytes out, replies back, nothing assumed. Replies are kept byte for byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::value::{Value, parse};

/// Longest wait for a reply before a test fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One connection.
pub struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
    /// Bytes of `buf` already handed out.
    at: usize,
}

/// A command in RESP.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

impl Client {
    /// Connects to a server on this machine.
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Client { stream, buf: Vec::new(), at: 0 })
    }

    /// Sets the longest wait for a reply.
    pub fn timeout(&mut self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))?;
        self.stream.set_write_timeout(Some(limit))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn end_input(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads one reply: its bytes and its value.
    pub fn reply(&mut self) -> io::Result<(Vec<u8>, Value)> {
        loop {
            match parse(&self.buf[self.at..]) {
                Err(what) => return Err(io::Error::new(io::ErrorKind::InvalidData, what)),
                Ok(Some((value, used))) => {
                    let raw = self.buf[self.at..self.at + used].to_vec();
                    self.at += used;
                    return Ok((raw, value));
                }
                Ok(None) => {}
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes the next reply if it is byte for byte `reply`, which must be one. Replies are no
    /// beginnings of each other, so it is safe to wait for as many bytes as agree.
    pub fn same(&mut self, reply: &[u8]) -> io::Result<bool> {
        loop {
            let have = &self.buf[self.at..];
            if have.len() >= reply.len() {
                let same = have[..reply.len()] == *reply;
                self.at += if same { reply.len() } else { 0 };
                return Ok(same);
            }
            if !reply.starts_with(have) {
                return Ok(false);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buf.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 64 * 1024];
        let n = loop {
            match self.stream.read(&mut chunk) {
                // A socket with a limit of time is not taken up again by the system.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        self.buf.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    /// Everything up to the end of the connection (a reset counts as its end).
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break,
                Err(e) => return Err(e),
            }
        }
        Ok(std::mem::take(&mut self.buf))
    }

    /// Sends one command and reads its reply.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(&encode(args))?;
        Ok(self.reply()?.1)
    }

    /// Sends one command and reads its reply; the connection must not fail.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let text: Vec<_> = args.iter().map(|a| a.as_ref().to_vec()).collect();
        self.try_call(args).unwrap_or_else(|e| panic!("{}: {e}", super::show_command(&text)))
    }

    /// A command given as words.
    pub fn words(&mut self, line: &str) -> Value {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    /// Sends many commands at once and reads all replies.
    pub fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Value> {
        let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(c)).collect();
        self.send(&bytes).expect("send a pipeline");
        commands.iter().map(|_| self.reply().expect("reply of a pipeline").1).collect()
    }
}
