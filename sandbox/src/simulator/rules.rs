//! Rules: which requests are answered otherwise than usual, and how.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::documented::{Documented, ErrorForm};
use super::folder::Folder;
use super::lock;
use super::query::Route;

/// What happens to the configuration under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// Nothing.
    No,
    /// The request takes effect before it is answered.
    Yes,
    /// The request takes effect this many milliseconds later, however it is answered.
    LateMs(u64),
}

/// How a request is answered under a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// As without the rule.
    Usual,
    /// A documented error with the message of the documents' example.
    Documented(Documented),
    /// A documented error in another form.
    DocumentedAs {
        /// Which.
        error: Documented,
        /// How it looks.
        form: ErrorForm,
    },
    /// 429, with that `Retry-After` (seconds or a date, as it is) if there is one.
    TooManyRequests {
        /// The header's value.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// 500 with a message about the configuration write lock.
    WriteLock,
    /// 500 with a decoded body and this message.
    ServerError {
        /// The message.
        message: String,
    },
    /// An HTML page, as a proxy would send it.
    Html {
        /// The status, such as 200, 404, 502 or 503.
        status: u16,
    },
    /// No body.
    Empty {
        /// The status.
        status: u16,
    },
    /// Half of the usual answer's JSON, as a complete response.
    TruncatedJson,
    /// Half of the usual answer, then the end of the connection.
    TruncatedBody,
    /// JSON of at least this many bytes.
    Huge {
        /// The status.
        status: u16,
        /// The size.
        bytes: usize,
    },
    /// The usual answer, piece by piece.
    Slow {
        /// The size of a piece.
        chunk_bytes: usize,
        /// The pause between pieces.
        pause_ms: u64,
    },
    /// An error body that repeats the request's whole body in `message` and `details`.
    EchoRequest {
        /// The status.
        status: u16,
    },
    /// An error of the token endpoint.
    OauthError {
        /// The status.
        status: u16,
        /// `error`.
        error: String,
        /// `error_description`.
        description: String,
    },
    /// Exactly this.
    Raw {
        /// The status.
        status: u16,
        /// The headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// No answer, ever: until the client leaves.
    Hang,
    /// The connection ends in order (FIN), without an answer.
    Close,
    /// The connection is reset (RST), without an answer.
    Reset,
}

impl Reply {
    /// Whether the reply is made of the usual answer.
    pub(crate) fn is_usual(&self) -> bool {
        matches!(self, Self::Usual | Self::TruncatedJson | Self::TruncatedBody | Self::Slow { .. })
    }
}

/// Which requests a rule is about: those that match everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The name in the body, in the query, or of the object that the path's id stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id in the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The folder in the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// The tenant that the token (or the token request's scope) is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The client id of the service account that is or was authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// A rule. Of several that match, the first that is not used up holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in the log; one is made if it has none.
    #[serde(default)]
    pub name: String,
    /// Which requests.
    #[serde(default)]
    pub when: When,
    /// How many of those pass untouched first.
    #[serde(default)]
    pub skip: u64,
    /// How many are then touched; all if not given.
    #[serde(default)]
    pub times: Option<u64>,
    /// How long they wait before anything else happens.
    #[serde(default)]
    pub delay_ms: u64,
    /// Whether they take effect. If not given: yes where the reply is made of the usual answer, no otherwise.
    #[serde(default)]
    pub apply: Option<Apply>,
    /// How they are answered.
    pub reply: Reply,
}

impl Rule {
    /// A rule about every request, for ever.
    #[must_use]
    pub fn new(reply: Reply) -> Self {
        Self { name: String::new(), when: When::default(), skip: 0, times: None, delay_ms: 0, apply: None, reply }
    }

    /// With a documented error.
    #[must_use]
    pub fn documented(error: Documented) -> Self {
        Self::new(Reply::Documented(error))
    }

    /// With a name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// For a method and a route.
    #[must_use]
    pub fn on(mut self, method: &str, route: Route) -> Self {
        self.when.method = Some(method.to_owned());
        self.when.route = Some(route);
        self
    }

    /// For an object's name.
    #[must_use]
    pub fn object(mut self, name: &str) -> Self {
        self.when.name = Some(name.to_owned());
        self
    }

    /// For an id.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.when.id = Some(id.to_owned());
        self
    }

    /// For a folder.
    #[must_use]
    pub fn folder(mut self, folder: Folder) -> Self {
        self.when.folder = Some(folder);
        self
    }

    /// For a tenant.
    #[must_use]
    pub fn tenant(mut self, tsg_id: &str) -> Self {
        self.when.tenant = Some(tsg_id.to_owned());
        self
    }

    /// For a bearer token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.when.token = Some(token.to_owned());
        self
    }

    /// For a service account.
    #[must_use]
    pub fn client_id(mut self, client_id: &str) -> Self {
        self.when.client_id = Some(client_id.to_owned());
        self
    }

    /// This many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Once.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// After this many have passed.
    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// After waiting.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// With another effect.
    #[must_use]
    pub fn apply(mut self, apply: Apply) -> Self {
        self.apply = Some(apply);
        self
    }

    /// The effect, given or implied.
    pub(crate) fn effect(&self) -> Apply {
        self.apply.unwrap_or(if self.reply.is_usual() { Apply::Yes } else { Apply::No })
    }
}

/// What a rule has done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleState {
    /// The rule.
    pub rule: Rule,
    /// How many requests have matched, those that passed untouched included.
    pub seen: u64,
    /// How many it has touched.
    pub hits: u64,
}

/// What rules look at in a request.
pub(crate) struct Facts<'a> {
    pub(crate) method: &'a str,
    pub(crate) route: Route,
    pub(crate) names: [Option<&'a str>; 3],
    pub(crate) id: Option<&'a str>,
    pub(crate) folder: Option<&'a str>,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) client_id: Option<&'a str>,
}

impl When {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        fn same(wanted: Option<&str>, found: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        self.method.as_deref().is_none_or(|method| method.eq_ignore_ascii_case(facts.method))
            && self.route.is_none_or(|route| route == facts.route)
            && self.name.as_deref().is_none_or(|name| facts.names.contains(&Some(name)))
            && same(self.id.as_deref(), facts.id)
            && same(self.folder.map(Folder::as_str), facts.folder)
            && same(self.tenant.as_deref(), facts.tenant)
            && same(self.token.as_deref(), facts.token)
            && same(self.client_id.as_deref(), facts.client_id)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Mutex<(u64, Vec<RuleState>)>,
    /// Their number, so that a request without any rule takes no lock.
    count: AtomicUsize,
}

impl Rules {
    /// Adds a rule and returns its name.
    pub(crate) fn add(&self, mut rule: Rule) -> String {
        let mut rules = lock(&self.rules);
        rules.0 += 1;
        if rule.name.is_empty() {
            rule.name = format!("rule-{}", rules.0);
        }
        let name = rule.name.clone();
        rules.1.push(RuleState { rule, seen: 0, hits: 0 });
        self.count.store(rules.1.len(), Ordering::SeqCst);
        name
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// The rule that holds for a request, which counts as a hit.
    pub(crate) fn pick(&self, facts: &Facts<'_>) -> Option<Rule> {
        let mut rules = lock(&self.rules);
        for state in rules.1.iter_mut().filter(|state| state.rule.when.matches(facts)) {
            if state.rule.times.is_some_and(|times| state.hits >= times) {
                continue;
            }
            state.seen += 1;
            if state.seen > state.rule.skip {
                state.hits += 1;
                return Some(state.rule.clone());
            }
        }
        None
    }

    pub(crate) fn states(&self) -> Vec<RuleState> {
        lock(&self.rules).1.clone()
    }

    /// Removes the rules of that name, or all.
    pub(crate) fn remove(&self, name: Option<&str>) -> usize {
        let mut rules = lock(&self.rules);
        let before = rules.1.len();
        rules.1.retain(|state| name.is_some_and(|name| state.rule.name != name));
        self.count.store(rules.1.len(), Ordering::SeqCst);
        before - rules.1.len()
    }
}
