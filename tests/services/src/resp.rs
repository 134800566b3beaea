//! Just enough of the Redis serialisation protocol (RESP2) to set servers up and ask how they are.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use crate::{Error, Result, server::connect};

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A simple or bulk string; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// No value.
    Nil,
    /// Several replies.
    List(Vec<Reply>),
}

impl Reply {
    /// The text, of a text.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The replies, of a list.
    pub fn list(&self) -> &[Self] {
        if let Self::List(replies) = self { replies } else { &[] }
    }
}

/// Sends one command over a connection of its own.
pub(crate) fn call(port: u16, command: &[&str]) -> Result<Reply> {
    let what = || command.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let parts = command.iter().map(|part| format!("${}\r\n{part}\r\n", part.len()));
    let head = format!("*{}\r\n", command.len());
    let request: Vec<_> = std::iter::once(head).chain(parts).collect();
    let mut stream = connect(port)?;
    stream.write_all(request.concat().as_bytes()).map_err(Error::io(what()))?;
    match read(&mut BufReader::new(stream)) {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(refusal)) => Err(Error::refused(what(), refusal)),
        Err(error) => Err(Error::io(what())(error)),
    }
}

/// The outer error is the connection's, the inner one Redis's.
fn read(stream: &mut BufReader<impl std::io::Read>) -> std::io::Result<std::result::Result<Reply, String>> {
    let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or_else(broken)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(broken)?;
    let length = || rest.parse::<i64>().map_err(|_| broken());
    Ok(Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => return Ok(Err(rest.to_owned())),
        ":" => Reply::Integer(length()?),
        "$" => match usize::try_from(length()?) {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let mut bytes = vec![0; length.saturating_add(2)];
                stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
        },
        "*" => match usize::try_from(length()?) {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let mut replies = Vec::new();
                for _ in 0..length {
                    match read(stream)? {
                        Ok(reply) => replies.push(reply),
                        Err(refusal) => return Ok(Err(refusal)),
                    }
                }
                Reply::List(replies)
            }
        },
        _ => return Err(broken()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_every_kind_are_read() {
        let text = |text: &str| Reply::Text(text.to_owned());
        for (bytes, expected) in [
            ("+PONG\r\n", Ok(text("PONG"))),
            ("-ERR no\r\n", Err("ERR no".to_owned())),
            (":-3\r\n", Ok(Reply::Integer(-3))),
            ("$4\r\na\r\nb\r\n", Ok(text("a\r\nb"))),
            ("$-1\r\n", Ok(Reply::Nil)),
            ("*-1\r\n", Ok(Reply::Nil)),
            ("*2\r\n:1\r\n*1\r\n+x\r\n", Ok(Reply::List(vec![Reply::Integer(1), Reply::List(vec![text("x")])]))),
        ] {
            assert_eq!(read(&mut BufReader::new(bytes.as_bytes())).unwrap(), expected, "{bytes:?}");
        }
        for bytes in ["", "+PO", "$5\r\nab", "?\r\n", ":x\r\n", "\r\n"] {
            assert!(read(&mut BufReader::new(bytes.as_bytes())).is_err(), "{bytes:?}");
        }
    }
}
