//! The status of an answer as a label: a server can answer with any number, and each would be a series.

/// The statuses that are told by themselves; the others are told by their class.
pub(super) const STATUSES: [(u16, &str); 19] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

/// The status as a label.
pub(super) fn status_label(status: u16) -> &'static str {
    let known = STATUSES.iter().find(|(known, _)| *known == status).map(|(_, label)| *label);
    known.unwrap_or(match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "other",
    })
}
