//! An answer over HTTP, as a text of the corpus holds it: a status line, headers, an empty line, a body.

use crate::{PLANTED, Rolls, mutate};

/// What a server may say. Nothing in it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; three digits.
    pub status: u16,
    /// Names and values; whether they are any is for the one to find out who wants to use them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

const STATUSES: [u16; 24] = [
    200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 407, 408, 409, 410, 418, 429, 451, 499, 500, 501, 502, 503, 504,
    599,
];

const HEADERS: [&str; 7] =
    ["retry-after", "date", "x-request-id", "content-type", "content-length", "x-panw-region", "retry-after"];

const VALUES: [&str; 16] = [
    "0",
    "1",
    "120",
    "99999999999999999999999999",
    "-1",
    "1.5",
    " 7 ",
    "Wed, 21 Oct 2026 07:28:00 GMT",
    "Wednesday, 21-Oct-26 07:28:00 GMT",
    "Wed Oct 21 07:28:00 2026",
    "Sat, 31 Dec 9999 23:59:59 GMT",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "abcd-1234",
    "",
    "text/html",
    PLANTED,
];

impl Answer {
    /// The answer of this text. Any bytes are one: without a status line, they are the body of a status that they decide.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self::documented(bytes).unwrap_or_else(|| {
            let mut rolls = Rolls::new(bytes);
            Self { status: rolls.pick(&STATUSES).unwrap_or(200), headers: Vec::new(), body: bytes.to_vec() }
        })
    }

    fn documented(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"HTTP/1.1 ")?;
        let end = rest.windows(2).position(|window| window == b"\n\n").unwrap_or(rest.len());
        let head = std::str::from_utf8(&rest[..end]).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.trim().parse().ok().filter(|status| (100..1000).contains(status))?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect();
        Some(Self { status, headers, body: rest.get(end + 2..).unwrap_or_default().to_vec() })
    }

    /// The answer, changed as the rolls say.
    #[must_use]
    pub fn mutated(mut self, rolls: &mut Rolls<'_>) -> Self {
        if rolls.once_in(3) {
            self.status = rolls.pick(&STATUSES).unwrap_or(self.status);
        }
        for _ in 0..rolls.below(3) {
            let name = rolls.pick(&HEADERS).unwrap_or_default().to_owned();
            let value = match rolls.below(4) {
                0 => {
                    let length = rolls.below(40);
                    rolls.bytes(length).to_vec()
                }
                _ => rolls.pick(&VALUES).unwrap_or_default().as_bytes().to_vec(),
            };
            self.headers.push((name, value));
        }
        self.body = mutate::text(&self.body, rolls);
        self
    }
}
