//! The command line. Every flag is also an environment variable, `MFA_OPERATOR_` and the flag's name in capitals.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::admin::HttpAddr;
use crate::crd::DeletionPolicy;
use crate::reconcile::SecretName;
use crate::sse::client::DEFAULT_API_URL;
use crate::sse::token::DEFAULT_AUTH_URL;

/// Keeps the multi-factor-authentication servers of Prisma Access equal to `MfaServer` resources.
#[derive(Debug, Parser)]
#[command(name = "mfa-operator", version, about, long_about = None, propagate_version = true)]
pub struct Arguments {
    /// What to do; `run` if nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of `run`.
    #[command(flatten)]
    pub run: Run,
}

/// What can be done.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Run the operator against the cluster of the kubeconfig, or that it runs in.
    Run,
    /// Print the definition of the `MfaServer` resource, for `kubectl apply -f -`.
    Crd,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum LogFormat {
    Text,
    Json,
}

/// The flags of `run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Address of the SSE configuration API.
    #[arg(long, global = true, env = "MFA_OPERATOR_API_URL", default_value = DEFAULT_API_URL, value_name = "URL", help_heading = "API")]
    pub api_url: String,

    /// Whole URL that service accounts get their tokens from.
    #[arg(long, global = true, env = "MFA_OPERATOR_AUTH_URL", default_value = DEFAULT_AUTH_URL, value_name = "URL", help_heading = "API")]
    pub auth_url: String,

    /// Allow plain http to hosts that are not loopback. Tokens and secrets are then sent in the clear.
    #[arg(long, global = true, env = "MFA_OPERATOR_ALLOW_HTTP", value_parser = clap::builder::BoolishValueParser::new(), help_heading = "API")]
    pub allow_http: bool,

    /// Time limit of one request to the API, its answer included: 1s to 10m.
    #[arg(long, global = true, env = "MFA_OPERATOR_REQUEST_TIMEOUT", default_value = "30s", value_parser = between::<1, 600>, value_name = "DURATION", help_heading = "API")]
    pub request_timeout: Duration,

    /// Requests a second to a tenant; 0 is unlimited.
    #[arg(
        long,
        global = true,
        env = "MFA_OPERATOR_API_QPS",
        default_value_t = 20,
        value_name = "N",
        help_heading = "API"
    )]
    pub api_qps: u32,

    /// Requests to a tenant at once after a rest.
    #[arg(long, global = true, env = "MFA_OPERATOR_API_BURST", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "API")]
    pub api_burst: u32,

    /// Requests to a tenant in flight at most; fewer while the tenant is busy.
    #[arg(long, global = true, env = "MFA_OPERATOR_API_MAX_IN_FLIGHT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256), value_name = "N", help_heading = "API")]
    pub api_max_in_flight: u32,

    /// Secret with the credentials in a resource's namespace, where its spec names none.
    #[arg(long, global = true, env = "MFA_OPERATOR_CREDENTIALS_SECRET", default_value = "prisma-access", value_parser = secret_name, value_name = "NAME", help_heading = "Resources")]
    pub credentials_secret: String,

    /// Secret with credentials for the namespaces of --shared-credentials-namespaces, where they have none of their own.
    /// Whoever may create an `MfaServer` there acts with them.
    #[arg(long, global = true, env = "MFA_OPERATOR_SHARED_CREDENTIALS", value_parser = secret_of_namespace, requires = "shared_credentials_namespaces", value_name = "NAMESPACE/NAME", help_heading = "Resources")]
    pub shared_credentials: Option<SecretName>,

    /// Namespaces that the shared credentials serve, separated by commas.
    #[arg(
        long,
        global = true,
        env = "MFA_OPERATOR_SHARED_CREDENTIALS_NAMESPACES",
        value_delimiter = ',',
        requires = "shared_credentials",
        value_name = "NAMESPACE",
        help_heading = "Resources"
    )]
    pub shared_credentials_namespaces: Vec<String>,

    /// How often everything is checked against the tenant: 10s to 24h.
    #[arg(long, global = true, env = "MFA_OPERATOR_RESYNC_INTERVAL", default_value = "10m", value_parser = between::<10, 86_400>, value_name = "DURATION", help_heading = "Resources")]
    pub resync_interval: Duration,

    /// What happens in the tenant when a resource without `deletionPolicy` is deleted.
    #[arg(
        long,
        global = true,
        env = "MFA_OPERATOR_DEFAULT_DELETION_POLICY",
        value_enum,
        default_value = "Delete",
        ignore_case = true,
        help_heading = "Resources"
    )]
    pub default_deletion_policy: Deletion,

    /// Resources that are worked on at the same time.
    #[arg(long, global = true, env = "MFA_OPERATOR_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N", help_heading = "Resources")]
    pub concurrency: u16,

    /// Work only while holding a lease, so that several replicas can run: one works, the others stand by.
    #[arg(long, global = true, env = "MFA_OPERATOR_LEADER_ELECT", value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Operations")]
    pub leader_elect: bool,

    /// Name of the lease.
    #[arg(long, global = true, env = "MFA_OPERATOR_LEASE_NAME", default_value = "mfa-operator", value_parser = lease_name, value_name = "NAME", help_heading = "Operations")]
    pub lease_name: String,

    /// Namespace of the lease; by default that of the operator's pod, or of the kubeconfig's context.
    #[arg(long, global = true, env = "MFA_OPERATOR_LEASE_NAMESPACE", value_parser = namespace, value_name = "NAMESPACE", help_heading = "Operations")]
    pub lease_namespace: Option<String>,

    /// Address of /livez, /readyz and /metrics, or "off".
    #[arg(
        long,
        global = true,
        env = "MFA_OPERATOR_HTTP_ADDR",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS:PORT",
        help_heading = "Operations"
    )]
    pub http_addr: HttpAddr,

    /// Log as text or as JSON. `RUST_LOG` sets the levels.
    #[arg(
        long,
        global = true,
        env = "MFA_OPERATOR_LOG_FORMAT",
        value_enum,
        default_value = "text",
        help_heading = "Operations"
    )]
    pub log_format: LogFormat,
}

/// `deletionPolicy`, as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub enum Deletion {
    Delete,
    Retain,
}

impl From<Deletion> for DeletionPolicy {
    fn from(deletion: Deletion) -> Self {
        match deletion {
            Deletion::Delete => Self::Delete,
            Deletion::Retain => Self::Retain,
        }
    }
}

/// A duration with its unit, between so many seconds.
fn between<const LEAST: u64, const MOST: u64>(text: &str) -> Result<Duration, String> {
    let wanted = format!("write a duration between {LEAST}s and {MOST}s, like 30s, 10m or 1h30m");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wanted.clone())?;
    let duration = Duration::try_from(span).map_err(|_| wanted.clone())?;
    let allowed = Duration::from_secs(LEAST)..=Duration::from_secs(MOST);
    if allowed.contains(&duration) { Ok(duration) } else { Err(wanted) }
}

fn secret_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("write the name of a Secret: lower-case letters, digits, '-' and '.'".to_owned())
    }
}

fn lease_name(text: &str) -> Result<String, String> {
    let label = |label: &str| is_label(label, usize::MAX);
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("write the name of a Lease: lower-case letters, digits, '-' and '.', the last two only inside".to_owned())
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if is_label(text, 63) {
        Ok(text.to_owned())
    } else {
        Err("write a namespace: lower-case letters, digits and '-', which only inside".to_owned())
    }
}

fn is_label(text: &str, longest: usize) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let inside = !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && text.len() <= longest && text.bytes().all(fits) && inside
}

fn secret_of_namespace(text: &str) -> Result<SecretName, String> {
    let (namespace, name) = text.split_once('/').ok_or("write NAMESPACE/NAME of a Secret")?;
    Ok(SecretName { namespace: secret_name(namespace)?, name: secret_name(name)? })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_have_units_and_bounds() {
        let resync = between::<10, 86_400>;
        assert_eq!(resync("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(resync("1h30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "10", "9s", "25h", "-1m", "soon"] {
            assert!(resync(wrong).unwrap_err().contains("between 10s and 86400s"), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_flag_and_an_unusable_value_are_refused_by_name() {
        let refusal = |words: &[&str]| {
            Arguments::try_parse_from(std::iter::once("mfa-operator").chain(words.iter().copied()))
                .unwrap_err()
                .to_string()
        };
        assert!(refusal(&["run", "--apiurl", "x"]).contains("--apiurl"));
        assert!(refusal(&["--credentials-secret", "No Such"]).contains("name of a Secret"));
        assert!(refusal(&["--http-addr", "localhost"]).contains("or off"));
        assert!(refusal(&["--api-burst", "0"]).contains("--api-burst"));
        assert!(refusal(&["--lease-name", "a..b"]).contains("name of a Lease"));
        assert!(refusal(&["--lease-name", "mfa-"]).contains("name of a Lease"));
        assert!(refusal(&["--lease-namespace", "a.b"]).contains("a namespace"));
    }

    #[test]
    fn nobody_is_elected_unless_asked_for() {
        let run = |words: &[&str]| {
            Arguments::try_parse_from(std::iter::once("mfa-operator").chain(words.iter().copied())).unwrap().run
        };
        let usual = run(&["run"]);
        let namespace = usual.lease_namespace.as_deref();
        assert_eq!((usual.leader_elect, usual.lease_name.as_str(), namespace), (false, "mfa-operator", None));
        let told = run(&["--leader-elect", "--lease-name", "mfa.blue", "--lease-namespace", "kube-system"]);
        let namespace = told.lease_namespace.as_deref();
        assert_eq!((told.leader_elect, told.lease_name.as_str(), namespace), (true, "mfa.blue", Some("kube-system")));
    }
}
