//! The two formats of `/metrics`: OpenMetrics, and the older text of Prometheus for whoever does not ask for it.

/// A format that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What Prometheus asks for.
    OpenMetrics,
    /// What `curl` gets, and what `promtool check metrics` reads.
    Text,
}

impl Format {
    /// The format for a request with this `Accept`.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let wanted = |kind: &str| {
            let mut parts = kind.split(';').map(str::trim);
            let is_open = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_open && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "version=0.0.1"))
        };
        match accept {
            Some(accept) if accept.split(',').any(wanted) => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    /// The type that the answer has.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The older text. There, help and type stand by the name of the samples: of a counter with `_total`, of an info, which it
/// does not know, with `_info`. The samples are the same.
pub(super) fn text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            text.extend(["# HELP ", name, suffix, " ", help, "\n# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [prometheus, "application/openmetrics-text", "text/plain, Application/OpenMetrics-Text; q=0.5"] {
            assert_eq!(Format::accepted(Some(accept)), Format::OpenMetrics, "{accept}");
        }
        for accept in ["*/*", "text/plain", "", "application/openmetrics-text;q=0", "text/html,application/xml"] {
            assert_eq!(Format::accepted(Some(accept)), Format::Text, "{accept}");
        }
        assert_eq!(Format::accepted(None), Format::Text);
    }

    #[test]
    fn the_older_text_names_what_it_counts_as_the_samples_do() {
        let open_metrics = "# HELP a_build Which.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n\
            # HELP a_calls Calls.\n# TYPE a_calls counter\na_calls_total{b=\"# c\"} 2\n\
            # HELP a_wait_seconds Waits.\n# TYPE a_wait_seconds gauge\n# UNIT a_wait_seconds seconds\na_wait_seconds 0.5\n# EOF\n";
        let wanted = "# HELP a_build_info Which.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
            # HELP a_calls_total Calls.\n# TYPE a_calls_total counter\na_calls_total{b=\"# c\"} 2\n\
            # HELP a_wait_seconds Waits.\n# TYPE a_wait_seconds gauge\na_wait_seconds 0.5\n";
        assert_eq!(text(open_metrics), wanted);
    }
}
